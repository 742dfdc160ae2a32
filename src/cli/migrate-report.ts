/** What a migration would do, and what it has done: as a table with remarks, or as JSON. */
import type { QueueInfo } from '../broker/broker.ts'
import { shortTime } from '../duration.ts'
import type { QueueReport } from '../send/migration-report.ts'
import { count } from './migrate-progress.ts'
import { type Column, note, plural, print, printJson, table } from './output.ts'

/** What one run of the command came to. */
export interface MigrationSummary {
  /** URLs without their passwords. */
  readonly from: string
  readonly to: string
  readonly queues: readonly QueueReport[]
  /** Whether somebody ended it before it was through. */
  readonly isStopped: boolean
  readonly tookMs: number
}

const planned: readonly Column<QueueInfo>[] = [
  { title: 'QUEUE', of: ({ queue }) => queue },
  { title: 'READY', of: ({ ready }) => count(ready), align: 'right' },
  { title: 'DELAYED', of: ({ delayed }) => count(delayed), align: 'right' },
  { title: 'RUNNING', of: ({ inFlight }) => count(inFlight), align: 'right' },
  { title: 'WORKERS', of: ({ consumers }) => count(consumers), align: 'right' },
  { title: '', of: ({ paused }) => (paused ? 'paused' : '') },
]

const done: readonly Column<QueueReport>[] = [
  { title: 'QUEUE', of: ({ queue }) => queue },
  { title: 'MOVED', of: ({ moved }) => count(moved), align: 'right' },
  { title: 'DELAYED', of: ({ delayed }) => count(delayed), align: 'right' },
  { title: 'LEFT', of: ({ left }) => count(left), align: 'right', paint: warnOfRest },
  { title: 'RUNNING', of: ({ running }) => count(running), align: 'right' },
]

function warnOfRest({ left }: QueueReport, text: string, paint: (colour: 'yellow', text: string) => string): string {
  return left > 0 ? paint('yellow', text) : text
}

export function tellPlan(from: string, to: string, plan: readonly QueueInfo[], asJson: boolean): void {
  const queues = plan.map(({ queue, ready, delayed, inFlight, consumers, paused }) => {
    return { queue, ready, delayed, running: inFlight, workers: consumers, paused }
  })
  if (asJson) return printJson({ from, to, dryRun: true, queues })
  if (plan.length > 0) print(table(plan, planned))
  const waiting = plan.reduce((sum, { ready, delayed }) => sum + ready + delayed, 0)
  note(`${messages(waiting)} would go from ${from} to ${to}; nothing was changed`)
}

/** Whether all is moved that could be fetched. */
export function isThrough({ queues, isStopped }: MigrationSummary): boolean {
  return !isStopped && sumOf(queues, 'left') === 0
}

export function tellSummary(summary: MigrationSummary, asJson: boolean): void {
  const { from, to, queues, tookMs } = summary
  const [moved, left, running] = [sumOf(queues, 'moved'), sumOf(queues, 'left'), sumOf(queues, 'running')]
  if (asJson) {
    const complete = isThrough(summary) && running === 0
    return printJson({ from, to, dryRun: false, complete, moved, left, running, ms: Math.round(tookMs), queues })
  }
  if (queues.length > 0) print(table(queues, done))
  note(`${messages(moved)} moved to ${to} in ${shortTime(tookMs)}; results stay where they are`)
  const settled = sumOf(queues, 'settled')
  if (settled > 0) note(`${messages(settled)} more had been moved by a run that was ended, and are off the source now`)
  for (const { queue, refused, refusedCount } of queues) {
    for (const { id, reason } of refused) note(`  '${queue}' keeps ${id || 'a message without an id'}: ${reason}`)
    if (refusedCount > refused.length)
      note(`  '${queue}' keeps ${messages(refusedCount - refused.length)} more like these`)
  }
  if (summary.isStopped) note('stopped; the same command goes on where it stopped')
  else if (left > 0)
    note(`${messages(left)} left at the source: refused as said, or come meanwhile; run it again for those`)
  if (running > 0)
    note(`${running} ${running === 1 ? 'is' : 'are'} running at the source; run it again when they are done`)
}

function sumOf(queues: readonly QueueReport[], key: 'moved' | 'left' | 'running' | 'settled'): number {
  return queues.reduce((sum, report) => sum + report[key], 0)
}

function messages(howMany: number): string {
  return howMany === 1 ? plural(1, 'message') : `${count(howMany)} messages`
}
