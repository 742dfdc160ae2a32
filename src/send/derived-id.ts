/** Ids that come out the same each time, so that what is sent twice can be recognised. */
import { createHash, randomUUID } from 'node:crypto'

/** Makes one id after the other. */
export type NewId = () => string

/** Ids that depend on the seed and on nothing else, in the form of a UUID of version 8 (RFC 9562, section 5.8). */
export function derivedIds(seed: string): NewId {
  let count = 0
  return () => {
    count += 1
    const hex = createHash('sha256').update(`${seed}/${count}`).digest('hex')
    const variant = ((Number.parseInt(hex.charAt(16), 16) & 3) | 8).toString(16)
    return [
      hex.slice(0, 8),
      hex.slice(8, 12),
      `8${hex.slice(13, 16)}`,
      `${variant}${hex.slice(17, 20)}`,
      hex.slice(20, 32),
    ].join('-')
  }
}

export const randomIds: NewId = () => randomUUID()
