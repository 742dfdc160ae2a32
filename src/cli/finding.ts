/** One thing that `celeriac doctor` has looked at. */
export interface Finding {
  readonly level: 'ok' | 'warn' | 'error'
  /** What was looked at. */
  readonly about: string
  readonly message: string
  /** What to do; null where all is well. */
  readonly advice: string | null
}

export function ok(about: string, message: string): Finding {
  return { level: 'ok', about, message, advice: null }
}

export function warn(about: string, message: string, advice: string): Finding {
  return { level: 'warn', about, message, advice }
}

export function error(about: string, message: string, advice: string): Finding {
  return { level: 'error', about, message, advice }
}
