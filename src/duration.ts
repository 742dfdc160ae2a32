/**
 * Durations and sizes as people write them. At the API a number means seconds (as in Celery) or bytes, a string carries
 * its unit; inside, every variable is milliseconds or bytes and says so in its name.
 */
import { CeleriacError } from './errors.ts'

type DurationUnit = 'ms' | 's' | 'm' | 'h' | 'd'

/** Seconds as a number, or text with its unit: `'500ms'`, `'30s'`, `'5m'`, `'2h'`, `'1d'`. */
export type Duration = number | `${number}${DurationUnit}`

/** Bytes as a number, or text with its unit: `'64KB'`, `'200MB'`, `'1GB'` (multiples of 1024). */
export type Size = number | `${number}${'B' | 'KB' | 'MB' | 'GB'}`

const msPerUnit: Record<DurationUnit, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const bytesPerUnit: Record<string, number> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }

/**
 * Milliseconds of a duration. `name` is the option's name, for the message.
 * @throws CeleriacError `CONFIG_INVALID` for anything that is not a duration of zero or more
 */
export function toMs(duration: Duration, name: string): number {
  if (typeof duration === 'number' && duration >= 0 && Number.isFinite(duration)) return duration * 1_000
  const match = typeof duration === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration.trim()) : null
  if (match === null) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `\`${name}\` must be a number of seconds or a text such as '500ms', '30s', '5m', '2h' or '1d', got ${show(duration)}`,
    )
  }
  return Number(match[1]) * msPerUnit[match[2] as DurationUnit]
}

/**
 * Bytes of a size. `name` is the option's name, for the message.
 * @throws CeleriacError `CONFIG_INVALID` for anything that is not a size of zero or more
 */
export function toBytes(size: Size, name: string): number {
  if (typeof size === 'number' && size >= 0) return size
  const match = typeof size === 'string' ? /^(\d+(?:\.\d+)?)(B|KB|MB|GB)$/.exec(size.trim()) : null
  if (match === null) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `\`${name}\` must be a number of bytes or a text such as '64KB' or '200MB', got ${show(size)}`,
    )
  }
  return Math.round(Number(match[1]) * (bytesPerUnit[match[2] as string] as number))
}

function show(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

/** `3 ms`, `1.25 s`, `4 min 10 s`, `3 h 20 min`, `2 d 4 h`. */
export function shortTime(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(ms < 10_000 ? 2 : 1))} s`
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
    ['s', 1_000],
  ] as const
  const first = units.findIndex(([, unitMs]) => ms >= unitMs)
  const [unit, unitMs] = units[first] ?? units[3]
  const count = Math.floor(ms / unitMs)
  const next = units[first + 1]
  const rest = next === undefined ? 0 : Math.floor((ms - count * unitMs) / next[1])
  return `${count} ${unit}${rest === 0 || next === undefined ? '' : ` ${rest} ${next[0]}`}`
}
