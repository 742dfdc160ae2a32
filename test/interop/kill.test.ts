/** Workers of one language that are killed, and those of the other that take over. */
import { join } from 'node:path'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { buildPackage } from '../e2e/processes.ts'
import { describeWith } from '../servers/index.ts'
import { Program } from '../servers/program.ts'
import { everything, openSite, type Site, transports, until } from './site.ts'

const root = join(import.meta.dirname, '..', '..')

/** A process of its own, on the built package, that serves the queue `both` with a lease of a second. */
async function startOurWorker({ url, transport, env, log }: Site): Promise<Program> {
  const worker = new Program({
    command: process.execPath,
    args: [join(root, 'scripts', 'run-ts.mjs'), join(import.meta.dirname, 'worker.ts')],
    env: { URL: url, LOG: log, QUEUE: 'both', ...(transport === 'redis' && { RESULTS: env.BACKEND ?? '' }) },
  })
  onTestFinished(() => worker.kill())
  await worker.until(() => worker.said.includes('ready'), 20_000)
  return worker
}

describeWith(everything, 'a killed worker', () => {
  beforeAll(buildPackage)

  describe.each(transports)('on %s', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport, { visibilityS: 3, app: { lease: '1s' } })
    })

    it('of Python loses its task to ours', { timeout: 60_000 }, async () => {
      const victim = await site.startPythonWorker({ queues: ['both'] })
      const gate = site.gate()
      const id = await site.python.run<string>('send("both.hold", given).id', { given: gate.path })
      await until(() => site.lines().includes(`start py ${id}`))

      const heir = await site.app.worker({ queues: ['both'] })
      onTestFinished(() => heir.stop())
      await victim.kill()
      gate.open()

      await until(() => site.lines().includes(`end ts ${id}`), 30_000)
      expect(runsOf(id)).toEqual([`start py ${id}`, `start ts ${id}`, `end ts ${id}`])
    })

    it('of ours loses its task to Python', { timeout: 60_000 }, async () => {
      const victim = await startOurWorker(site)
      const gate = site.gate()
      const { id } = await site.tasks.hold.delay(gate.path)
      await until(() => site.lines().includes(`start ts ${id}`))

      // On Redis a worker of ours, of whatever queue, gives back within the lease what another one lost.
      const sibling = await site.app.worker({ queues: ['ts'] })
      onTestFinished(() => sibling.stop())
      const heir = await site.startPythonWorker({ queues: ['both'] })
      onTestFinished(() => heir.kill())
      await victim.kill()
      gate.open()

      await until(() => site.lines().includes(`end py ${id}`), 30_000)
      expect(runsOf(id)).toEqual([`start ts ${id}`, `start py ${id}`, `end py ${id}`])
    })

    function runsOf(id: string): string[] {
      return site.lines().filter((line) => line.endsWith(id))
    }
  })
})
