/** How often something may happen: Celery's `rate_limit`. */
import { CeleriacError } from './errors.ts'

/** `'10/s'`, `'100/m'`, `'1000/h'`, or a number per second. */
export type Rate = number | `${number}/${'s' | 'm' | 'h'}` | `${number}`

const secondsOf = { s: 1, m: 60, h: 3_600 } as const

/** Per second; undefined for no limit: null, 0, or nothing. @throws CeleriacError `CONFIG_INVALID` */
export function toRate(rate: unknown): number | undefined {
  if (rate === undefined || rate === null || rate === 0 || rate === '0' || rate === '') return undefined
  const match = /^\s*(\d+(?:\.\d+)?)\s*(?:\/\s*([smh]))?\s*$/.exec(String(rate))
  if (match === null) {
    const message = `a rate is a number per second, or a text such as '10/s', '100/m' or '1000/h', got ${JSON.stringify(rate)}`
    throw new CeleriacError('CONFIG_INVALID', message)
  }
  return Number(match[1]) / secondsOf[(match[2] ?? 's') as keyof typeof secondsOf]
}
