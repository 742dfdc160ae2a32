/** A measured process: is told one job, does it, answers, ends. Started by `harness/processes.ts` only. */
import { deferred } from './harness/deferred.ts'
import type { FromChild, Job } from './harness/processes.ts'
import { type Role, roles } from './roles/index.ts'

const tell = (message: FromChild): void => {
  process.send?.(message)
}

// Without its parent nobody waits for the result, or would end it at its deadline.
const orphaned = (): void => process.exit(1)
process.once('disconnect', orphaned)

process.once('message', async (job: Job) => {
  // Until it has answered, a child lives, whatever the side's own handles and timers do.
  const alive = setInterval(() => {}, 60_000)
  const parent = {
    ready(): Promise<void> {
      const go = deferred<void>()
      process.once('message', () => go.resolve())
      tell({ type: 'ready' })
      return go.promise
    },
  }
  try {
    const role = roles[job.role] as Role<unknown, unknown>
    tell({ type: 'result', result: await role({ side: job.side, store: job.store, parent }, job.params) })
  } catch (error) {
    tell({ type: 'error', message: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    process.exitCode = 1
  }
  clearInterval(alive)
  // Anything still open after the session was closed would only delay the next measurement.
  process.off('disconnect', orphaned)
  process.disconnect()
  setTimeout(() => process.exit(), 1_000).unref()
})
