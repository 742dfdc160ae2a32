/** The summary for people. */
import type { Percentiles, Summary } from './summary.ts'

export function report(summary: Summary): string {
  const { orders, tasks, reconciliation } = summary
  const lines = [
    `${orders.in} orders in: ${orders.accepted} accepted, ${orders.rejected} rejected, ${orders.repeated} sent twice`,
    ...because(orders.rejectedBecause),
    `${summary.delivered} delivered in ${summary.seconds} s (${summary.deliveredPerSecond}/s), ${summary.retried} of the orders with a retry`,
    `${summary.deadLettered} dead-lettered`,
    ...because(summary.deadLetteredBecause),
    `${tasks.runs} task runs: ${tasks.retries} retries, ${tasks.reruns} run again because a worker was lost`,
  ]
  const { picking } = summary
  lines.push(`${picking.orders} orders picked on ${picking.trips} trips to the aisles, ${picking.perSecond}/s`)
  if (summary.workersKilled > 0) lines.push(`${summary.workersKilled} workers killed`)
  if (summary.workersCrashed > 0) lines.push(`${summary.workersCrashed} workers crashed`)
  lines.push('', ...stageTable(summary), '')
  for (const { check, holds, against } of reconciliation.checks) {
    lines.push(`${holds ? '✓' : '✗'} ${check}`, ...against.map((one) => `    ${one}`))
  }
  if (reconciliation.deliveredUnawares > 0) {
    lines.push(
      `  (${reconciliation.deliveredUnawares} of the dead letters delivered: the courier's answer to the last try was lost.`,
      '   Redriving is safe, the courier knows their ids.)',
    )
  }
  lines.push('', verdict(summary))
  return lines.join('\n')
}

function verdict({ finished, reconciliation }: Summary): string {
  if (!finished) return 'NOT FINISHED IN TIME: the orders still in the queues are missing from the books.'
  return reconciliation.holds ? 'The books agree.' : 'THE BOOKS DO NOT AGREE.'
}

function stageTable({ stages, bottleneck }: Summary): string[] {
  const header = ['stage', 'runs', 'failed', 'retries', 'again', 'wait p50', 'p99', 'run p50', 'p99', 'busy']
  const rows = stages.map((stage) => [
    stage.stage,
    stage.runs,
    stage.failures,
    stage.retries,
    stage.reruns,
    ...both(stage.waitMs),
    ...both(stage.runMs),
    `${Math.round(stage.busy * 100)}%`,
  ])
  // 79 columns in all.
  const widths = [11, 6, 7, 8, 6, 9, 9, 9, 8, 6]
  const line = (cells: readonly (string | number)[]): string =>
    cells
      .map((cell, index) => (index === 0 ? String(cell).padEnd(11) : String(cell).padStart(widths[index] ?? 9)))
      .join('')
  return [line(header), ...rows.map(line), `bottleneck: ${bottleneck}`]
}

function both({ p50, p99 }: Percentiles): string[] {
  return [milliseconds(p50), milliseconds(p99)]
}

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`
}

function because(reasons: Record<string, number>): string[] {
  return Object.entries(reasons).map(([reason, count]) => `  ${String(count).padStart(5)}  ${reason}`)
}
