/** How a migration shows that it goes on: a bar where somebody looks at a terminal, else a line now and then. On stderr. */
import type { WriteStream } from 'node:tty'
import { shortTime } from '../duration.ts'
import { cut, note } from './output.ts'
import { columnsOf, type Paint, painter } from './terminal.ts'

/** Shows one queue after the other. */
export interface Progress {
  /** @param total messages that wait in the queue now; others may join them */
  begin(queue: string, total: number): void
  update(moved: number): void
  end(): void
}

/** What is known of the queue under way. */
export interface Stand {
  readonly queue: string
  readonly moved: number
  readonly total: number
  readonly elapsedMs: number
}

const redrawMs = 100
const lineMs = 5_000
const barWidth = 24
const longestName = 24

export function progressOn(stream: WriteStream, isSilent: boolean): Progress {
  if (stream.isTTY && process.env.TERM !== 'dumb') {
    const draw = (stand: Stand): unknown =>
      stream.write(`\r\u001b[K${bar(stand, columnsOf(stream) - 1, painter(stream))}`)
    return paced(redrawMs, draw, () => stream.write('\r\u001b[K'))
  }
  if (isSilent) return paced(Number.POSITIVE_INFINITY, () => undefined)
  return paced(lineMs, ({ queue, moved, total }) => note(`${queue}: ${count(moved)} of ${count(total)} moved`))
}

/** Draws not more often than this. */
function paced(intervalMs: number, draw: (stand: Stand) => void, clear: () => void = () => undefined): Progress {
  let [queue, total, startMs, nextMs] = ['', 0, 0, 0]
  return {
    begin(name, waiting) {
      ;[queue, total, startMs] = [name, waiting, performance.now()]
      nextMs = startMs + intervalMs
    },
    update(moved) {
      const nowMs = performance.now()
      if (nowMs < nextMs) return
      nextMs = nowMs + intervalMs
      draw({ queue, moved, total: Math.max(total, moved), elapsedMs: nowMs - startMs })
    },
    end: clear,
  }
}

/** `picking  ━━━━━━━━━━━━────────────   50 %  12,000 of 24,000  8,000/s  2 s left`; what does not fit goes, from the right. */
export function bar({ queue, moved, total, elapsedMs }: Stand, width: number, paint: Paint): string {
  const share = total === 0 ? 1 : moved / total
  const full = Math.round(share * barWidth)
  const perSecond = (moved / Math.max(1, elapsedMs)) * 1_000
  const leftMs = perSecond === 0 ? undefined : ((total - moved) / perSecond) * 1_000
  const name = cut(queue, longestName)
  const facts = [
    `${String(Math.floor(share * 100)).padStart(3)} %`,
    `${count(moved)} of ${count(total)}`,
    `${count(perSecond)}/s`,
    ...(leftMs === undefined ? [] : [`${shortTime(Math.ceil(leftMs / 1_000) * 1_000)} left`]),
  ]
  let room = width - name.length - barWidth - 2
  const fitting = facts.filter((fact) => {
    room -= fact.length + 2
    return room >= 0
  })
  return [name, `${paint('green', '━'.repeat(full))}${paint('dim', '─'.repeat(barWidth - full))}`, ...fitting].join(
    '  ',
  )
}

/** `12,345` */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
