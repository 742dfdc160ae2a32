/** Looks at queues and logbook again and again: for the picture on the terminal, and to see when all is done. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { QueueInfo } from 'celeriac'
import type { Entry, LogbookReader } from './logbook.ts'
import type { StageView } from './progress.ts'
import type { Stage } from './stages.ts'
import { Tally } from './tally.ts'

export interface WatchOptions {
  readonly stages: readonly Stage[]
  readonly queues: () => Promise<readonly QueueInfo[]>
  readonly logbook: LogbookReader
  readonly show: (views: readonly StageView[]) => void
  /** Given every entry of the logbook once. */
  readonly onEntries: (entries: readonly Entry[]) => void
  /** Whether more orders are still to come. */
  readonly isFeeding: () => boolean
  /** Orders accepted so far. */
  readonly accepted: () => number
  readonly signal: AbortSignal
}

const everyMs = 200

/**
 * True once every queue is empty and nothing is being worked on, false when the signal ended the watch before. Not every
 * broker tells what is being worked on, so every order must have arrived besides: at its customer or with the dead letters.
 */
export async function watchUntilQuiet(options: WatchOptions): Promise<boolean> {
  const { stages, queues, logbook, show, onEntries, isFeeding, accepted, signal } = options
  const tally = new Tally()
  const delivered = new Set<string>()
  const lastTask = stages.at(-1)?.task
  let quietLooks = 0
  while (!signal.aborted) {
    const feeding = isFeeding()
    const infos = await queues()
    // Read after the queues: whoever left a queue has its line in the logbook.
    const entries = logbook.read()
    tally.add(entries)
    onEntries(entries)
    for (const entry of entries) {
      if (entry.what === 'ended' && entry.task === lastTask && entry.error === null) delivered.add(entry.orderId)
    }
    const views = stages.map((stage) => viewOf(stage, infos, tally))
    show(views)
    // A broker may look at its queues one after another, and miss a message that passes from one to the next. It
    // cannot be missed twice, because it stays there for longer than a look.
    const isEmpty = views.every(({ ready, delayed, running }) => ready + delayed + running === 0)
    const arrived = views.reduce((sum, { dead }) => sum + dead, delivered.size)
    const isQuiet = !feeding && isEmpty && arrived >= accepted()
    quietLooks = isQuiet ? quietLooks + 1 : 0
    if (quietLooks === 2) return true
    await sleep(everyMs, undefined, { signal }).catch(() => undefined)
  }
  return false
}

function viewOf({ queue, task }: Stage, infos: readonly QueueInfo[], tally: Tally): StageView {
  const info = infos.find((one) => one.queue === queue)
  const dead = infos.find((one) => one.queue === `${queue}.dead`)
  return {
    queue,
    ready: info?.ready ?? 0,
    delayed: info?.delayed ?? 0,
    running: info?.inFlight ?? 0,
    dead: dead?.ready ?? 0,
    perSecond: tally.perSecond(task, Date.now()),
    ...tally.of(task),
  }
}
