/**
 * The worker's log, on stderr: pino's JSON lines for collectors, short lines for people. The latter are written here:
 * a person needs no more than the time, what happened, to which task, and why.
 */
import type { pino as Pino } from 'pino'
import { shortTime } from '../duration.ts'
import type { Logger } from '../logger.ts'
import { userFrames } from '../stack.ts'
import { type Paint, painter } from './terminal.ts'
import type { LogLevel } from './values.ts'

export type LogFormat = 'pretty' | 'json'

export async function createLogger(format: LogFormat, level: LogLevel): Promise<Logger> {
  return format === 'json' ? jsonLogger(level, (await import('pino')).pino) : prettyLogger(level)
}

function jsonLogger(level: LogLevel, pino: typeof Pino): Logger {
  // Written at once: the last lines before the end matter most.
  const stderr = pino.destination({ dest: 2, sync: true })
  // A reader that has gone must not end the worker.
  stderr.on('error', () => undefined)
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: (error: unknown) => (error instanceof Error ? pino.stdSerializers.err(error) : error) },
    },
    stderr,
  )
}

const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

function prettyLogger(threshold: LogLevel): Logger {
  const paint = painter(process.stderr)
  // A busy worker logs thousands of lines a second; those of one turn are written together.
  const lines: string[] = []
  let scheduled: NodeJS.Immediate | undefined
  const flush = (): void => {
    clearImmediate(scheduled)
    scheduled = undefined
    if (lines.length > 0) process.stderr.write(lines.splice(0).join(''))
  }
  const at = (level: LogLevel): Logger[LogLevel] => {
    if (levels.indexOf(level) < levels.indexOf(threshold)) return () => undefined
    const isUrgent = level === 'warn' || level === 'error'
    return (fields, message) => {
      lines.push(prettyLine(level, fields, message, new Date(), paint))
      if (isUrgent) flush()
      else scheduled ??= setImmediate(flush)
    }
  }
  process.on('exit', flush)
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

const levelColours = { debug: 'dim', info: 'green', warn: 'yellow', error: 'red' } as const

/** `19:04:10 info  warehouse.pick succeeded in 12 ms  2f1c…`; where it was given up, the error's stack follows. */
export function prettyLine(level: LogLevel, fields: object, message: string, at: Date, paint: Paint): string {
  // The worker's name is in the banner, and in every line it would only push the rest out of sight.
  const { task, taskId, error, runMs, countdownMs, worker: _worker, ...others } = fields as Record<string, unknown>
  const timeMs = runMs ?? countdownMs
  const details = Object.entries(others)
    .filter(([key, value]) => value !== undefined && !(key === 'queue' && runMs !== undefined))
    .map(([key, value]) => `${key}=${valueText(value)}`)
  const subject = task === undefined ? '' : `${paint('bold', String(task))} `
  const parts = [
    `${paint('dim', clockTime(at))} ${paint(levelColours[level], level.padEnd(5))} ${subject}${message}`,
    error === undefined ? undefined : paint(level === 'error' ? 'red' : 'yellow', errorText(error)),
    taskId === undefined ? undefined : paint('dim', String(taskId)),
    details.length === 0 ? undefined : paint('dim', details.join(' ')),
  ]
  if (typeof timeMs === 'number') parts[0] += ` in ${shortTime(timeMs)}`
  const stack = level === 'error' && error instanceof Error ? stackOf(error) : ''
  return `${parts.filter((part) => part !== undefined).join('  ')}\n${paint('dim', stack)}`
}

function clockTime(at: Date): string {
  return at.toTimeString().slice(0, 8)
}

function valueText(value: unknown): string {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return value.map(valueText).join(',')
  if (typeof value === 'number') return String(Math.round(value * 1_000) / 1_000)
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
}

function errorText(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : valueText(error)
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `    caused by ${errorText(error.cause)}\n${stackOf(error.cause)}` : ''
  return (
    userFrames(error.stack)
      .map((frame) => `    ${frame}\n`)
      .join('') + cause
  )
}
