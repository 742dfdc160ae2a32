/** What was measured at one stage: the runs of one task within the flows under test. */
import { Series } from './series.ts'
import { Times } from './times.ts'

export class StageTally {
  readonly task: string
  readonly queue: string
  /** From when a run could begin (it was sent, the step before it ended, its retry was due) to when it began. */
  readonly wait = new Times()
  /** Every run, those that failed included; one of a batch for each of its calls. */
  readonly run = new Times()
  /** How often, and for how long, a slot was taken. A batch takes one. */
  readonly slots = { runs: 0, ms: 0 }
  /** What waited in its queue. */
  readonly depth = new Series()
  succeeded = 0
  failed = 0
  retries = 0
  /** Calls within flows that have ended: with the number of these, how often a flow comes by. */
  visits = 0

  constructor(task: string, queue: string) {
    this.task = task
    this.queue = queue
  }

  /** @param together calls in the run, this one included */
  ran(tookMs: number, together = 1): void {
    this.run.record(tookMs)
    this.slots.runs += 1 / together
    this.slots.ms += Math.max(0, tookMs) / together
  }
}
