/** Starts the courier in a process of its own. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { CourierOptions } from './courier.ts'

export interface CourierProcess {
  readonly url: string
  /** Resolves once it has ended. */
  stop(): Promise<void>
}

/** Runs a TypeScript file on every version of Node we support. */
const runTs = join(import.meta.dirname, '..', '..', 'scripts', 'run-ts.mjs')

/** Resolves once it takes requests. @throws Error when it ends before that */
export async function startCourier(options: CourierOptions): Promise<CourierProcess> {
  const courier = fork(runTs, [join(import.meta.dirname, 'courier.ts'), JSON.stringify(options)], {
    // Not in our process group: after a Ctrl-C the workers still need it, to finish.
    detached: true,
  })
  const exited = once(courier, 'exit')
  const [message] = await Promise.race([
    once(courier, 'message'),
    exited.then(([code]) => {
      throw new Error(`the courier does not start: exit code ${code}`)
    }),
  ])
  return {
    url: `http://127.0.0.1:${(message as { port: number }).port}`,
    async stop() {
      courier.kill()
      await exited
    },
  }
}
