/**
 * Shows the stages at work: bars that are redrawn in place on a terminal, a plain line now and then elsewhere.
 * `render` and `bottleneck` are pure.
 */
export interface StageView {
  readonly queue: string
  /** Messages that may be taken, that wait for their retry, and that are being worked on. */
  readonly ready: number
  readonly delayed: number
  readonly running: number
  readonly done: number
  readonly perSecond: number
  readonly failures: number
  readonly retries: number
  readonly dead: number
}

export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** How often a line is printed where there is no terminal, in ms. */
const plainEveryMs = 2_000
const barWidth = 14

export class Progress {
  readonly #out: Output
  #drawn = 0
  #lastPlainMs = -Infinity

  constructor(out: Output) {
    this.#out = out
  }

  /** Shows the stages as they are at `nowMs`, on any clock. `total` is the number of orders accepted so far. */
  show(stages: readonly StageView[], total: number, nowMs: number): void {
    if (this.#out.isTTY) {
      const lines = render(stages, total).map((line) => fit(line, this.#out.columns ?? 80))
      this.#out.write(`${this.#erase()}${lines.join('\n')}\n`)
      this.#drawn = lines.length
    } else if (nowMs - this.#lastPlainMs >= plainEveryMs) {
      this.#lastPlainMs = nowMs
      this.#out.write(`${plain(stages)}\n`)
    }
  }

  /** A line of text that stays, above the bars. */
  say(text: string): void {
    this.#out.write(`${this.#erase()}${text}\n`)
  }

  /** Leaves the bars as they are; what comes next is written below them. */
  settle(): void {
    this.#drawn = 0
  }

  /** Up over the bars of last time, clearing them. */
  #erase(): string {
    const up = this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A\x1b[J`
    this.#drawn = 0
    return up
  }
}

/** A table with a line per stage, and a line for the one that holds up the others. Fits into 80 columns. */
export function render(stages: readonly StageView[], total: number): string[] {
  const slowest = bottleneck(stages)
  const rows = stages.map((stage) => {
    const { queue, ready, delayed, running, done, perSecond, failures, retries, dead } = stage
    const mark = queue === slowest?.queue ? '▶' : ' '
    const figures = [done, ready + delayed, running, perSecond.toFixed(1), failures, retries, dead]
    return `${mark} ${queue.padEnd(10)} ${bar(done, ready + delayed + running, total)}${row(figures)}`
  })
  const pace = slowest && `▶ the bottleneck is ${slowest.queue}: ${slowest.clearSeconds.toFixed(1)} s behind`
  return [`  ${'stage'.padEnd(11 + barWidth)}${row(columns)}`, ...rows, pace ?? '']
}

const columns = ['done', 'waiting', 'running', '/s', 'failed', 'retries', 'dead']

function row(cells: readonly (string | number)[]): string {
  return cells.map((cell, index) => String(cell).padStart(Math.max(7, `${columns[index]} `.length))).join('')
}

/** The stage whose backlog takes longest to clear at its present pace; undefined while nothing waits. */
export function bottleneck(
  stages: readonly Pick<StageView, 'queue' | 'ready' | 'delayed' | 'perSecond'>[],
): { readonly queue: string; readonly clearSeconds: number } | undefined {
  const backlogs = stages.map(({ queue, ready, delayed, perSecond }) => ({
    queue,
    clearSeconds: (ready + delayed) / Math.max(perSecond, 0.1),
  }))
  const [slowest] = backlogs.sort((a, b) => b.clearSeconds - a.clearSeconds)
  return slowest === undefined || slowest.clearSeconds === 0 ? undefined : slowest
}

function plain(stages: readonly StageView[]): string {
  const slowest = bottleneck(stages)?.queue
  return stages
    .map(({ queue, ready, delayed, running, done, perSecond, failures, retries, dead }) => {
      const figures = [`${done} done`, `${ready + delayed} waiting`, `${running} running`, `${perSecond.toFixed(1)}/s`]
      if (failures > 0) figures.push(`${failures} failed`)
      if (retries > 0) figures.push(`${retries} retries`)
      if (dead > 0) figures.push(`${dead} dead`)
      return `${queue}: ${figures.join(', ')}${queue === slowest ? ' (bottleneck)' : ''}`
    })
    .join(' | ')
}

/** Done, then what is in the stage just now, then what is still to come. */
function bar(done: number, here: number, total: number): string {
  const share = (part: number): number => Math.min(barWidth, Math.round((part / Math.max(total, 1)) * barWidth))
  const full = share(done)
  const half = Math.min(barWidth - full, here > 0 ? Math.max(1, share(here)) : 0)
  return `${'█'.repeat(full)}${'▒'.repeat(half)}${'·'.repeat(barWidth - full - half)}`
}

/** A line that wraps would break the counting of lines to go up. */
function fit(line: string, columns: number): string {
  return line.length < columns ? line : line.slice(0, columns - 1)
}
