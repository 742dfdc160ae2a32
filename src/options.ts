/** Checks on options, all with one manner: what the option takes, what came, and the nearest known name. */
import { CeleriacError } from './errors.ts'
import { nearest } from './nearest.ts'

/** @throws CeleriacError `CONFIG_INVALID` for a key that is not known */
export function refuseUnknown(options: object, known: readonly string[], where: string): void {
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue
    const guess = nearest(key, known)
    throw new CeleriacError(
      'CONFIG_INVALID',
      `unknown option \`${key}\` in ${where}${guess === undefined ? `; it takes ${known.join(', ')}` : `; did you mean \`${guess}\`?`}`,
    )
  }
}

/** @throws CeleriacError `CONFIG_INVALID` unless the value is a whole number in the range */
export function wholeNumber(value: number, name: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  throw new CeleriacError('CONFIG_INVALID', `\`${name}\` must be a whole number ${range}, got ${String(value)}`)
}

/** @throws CeleriacError `CONFIG_INVALID` unless the value is one of the choices */
export function oneOf<Choice extends string>(value: string, name: string, choices: readonly Choice[]): Choice {
  if ((choices as readonly string[]).includes(value)) return value as Choice
  const guess = nearest(String(value), choices)
  const advice = guess === undefined ? '' : `; did you mean '${guess}'?`
  const listed = choices.map((choice) => `'${choice}'`).join(', ')
  throw new CeleriacError('CONFIG_INVALID', `\`${name}\` must be one of ${listed}, got '${String(value)}'${advice}`)
}
