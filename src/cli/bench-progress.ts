/** One line on a terminal while a load test runs; nothing where nobody looks. On stderr. */
import type { WriteStream } from 'node:tty'
import type { BenchProgress } from '../bench/bench.ts'
import { shortTime } from '../duration.ts'
import { count } from './migrate-progress.ts'
import { columnsOf, type Paint, painter } from './terminal.ts'
import { clip } from './text-width.ts'

const barWidth = 20

export interface ProgressLine {
  update(progress: BenchProgress): void
  end(): void
}

export function progressLine(stream: WriteStream, isSilent: boolean): ProgressLine {
  if (isSilent || !stream.isTTY || process.env.TERM === 'dumb') return { update: () => undefined, end: () => undefined }
  return {
    update: (progress) => stream.write(`\r\u001b[K${line(progress, columnsOf(stream) - 1, painter(stream))}`),
    end: () => stream.write('\r\u001b[K'),
  }
}

/** `━━━━━━━───────  sending  1,500 sent  1,420 completed  3 failed  30 s` */
export function line(
  { planned, sent, completed, failed, elapsedMs, isSending }: BenchProgress,
  width: number,
  paint: Paint,
): string {
  const full = planned === 0 ? barWidth : Math.round(((completed + failed) / planned) * barWidth)
  const facts = [
    isSending ? 'sending' : 'waiting for the last ones',
    `${count(sent)} sent`,
    `${count(completed)} completed`,
    ...(failed === 0 ? [] : [`${count(failed)} failed`]),
    shortTime(Math.floor(elapsedMs / 1_000) * 1_000),
  ].join('  ')
  const bar = `${paint('green', '━'.repeat(full))}${paint('dim', '─'.repeat(barWidth - full))}`
  return `${bar}  ${clip(facts, Math.max(0, width - barWidth - 2))}`
}
