/** Starts `celeriac monitor` beside the warehouse, in a process of its own. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

export interface MonitorProcess {
  readonly url: string
  /** Resolves once it has ended. */
  stop(): Promise<void>
}

const program = join(import.meta.dirname, '..', '..', 'bin', 'celeriac.js')
const leash = pathToFileURL(join(import.meta.dirname, 'leash.mjs')).href

/** Resolves once it answers. @throws Error with its last words when it does not start */
export async function startMonitor(broker: string, appName: string, db: string): Promise<MonitorProcess> {
  const flags = ['-b', broker, '--app-name', appName, '--db', db, '--port', '0', '--log-format', 'json']
  const monitor = fork(program, ['monitor', ...flags], {
    detached: true,
    execArgv: ['--import', leash],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const exited = once(monitor, 'exit')
  let lastWords = ''
  const url = new Promise<string>((resolve) => {
    createInterface({ input: monitor.stderr as NonNullable<typeof monitor.stderr> }).on('line', (line) => {
      lastWords = line
      const found = /"url":"(http:[^"]+)"/.exec(line)?.[1]
      if (found !== undefined) resolve(found)
    })
  })
  const failed = exited.then(() => {
    throw new Error(`the monitor does not start: ${lastWords}`)
  })
  failed.catch(() => undefined)
  return {
    url: await Promise.race([url, failed]),
    async stop() {
      monitor.kill()
      await exited
    },
  }
}
