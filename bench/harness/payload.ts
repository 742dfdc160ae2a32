/** What every task carries, on every side: about 100 bytes of JSON. */
export interface Payload {
  /** Which of the run's tasks this is, from 0: delivery is counted by it. */
  readonly i: number
  /** When it was sent (monotonic ms) or is due (epoch ms); 0 where nobody asks. */
  readonly at: number
  readonly text: string
}

const text = 'parcel '.repeat(8)

export function payload(i: number, at = 0): Payload {
  return { i, at, text }
}

export function payloads(count: number, at = 0): Payload[] {
  return Array.from({ length: count }, (_, i) => payload(i, at))
}
