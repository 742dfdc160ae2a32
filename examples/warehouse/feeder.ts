/** Feeds orders from a file into the receiver, as a shop's website would: over HTTP, several at once. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ReadLine } from './orders/read.ts'

export interface FeedOptions {
  readonly lines: AsyncGenerator<ReadLine>
  /** Address of the receiver. */
  readonly url: string
  /** Requests under way at once. @default 8 */
  readonly concurrency?: number
  /** Ends the feeding after the requests under way. */
  readonly signal?: AbortSignal
}

/** Filled while feeding goes on, so that it can be watched. */
export interface FeedReport {
  /** Lines read. */
  in: number
  /** Ids of the orders answered 202, each once. */
  readonly accepted: Set<string>
  /** Orders that came once more and were recognised. */
  repeated: number
  /** How many lines were rejected, by reason. */
  readonly rejected: Map<string, number>
}

/** How often an order is sent before it counts as rejected because the receiver cannot be reached. */
const maxTries = 5

export function emptyReport(): FeedReport {
  return { in: 0, accepted: new Set(), repeated: 0, rejected: new Map() }
}

/** Resolves once every line was answered. */
export async function feed(options: FeedOptions, report: FeedReport): Promise<void> {
  const { lines, url, concurrency = 8, signal } = options
  const reject = (reason: string): void => void report.rejected.set(reason, (report.rejected.get(reason) ?? 0) + 1)

  async function sender(): Promise<void> {
    for (;;) {
      // One generator for all senders: it hands out each line once.
      const { value: line, done } = await lines.next()
      if (done || signal?.aborted) return
      report.in++
      if ('reason' in line) {
        reject(line.reason)
        continue
      }
      const answer = await post(url, line.order)
      if (answer.reason !== undefined) reject(answer.reason)
      else if (answer.repeated) report.repeated++
      if (answer.reason === undefined) report.accepted.add(line.order.id)
    }
  }

  await Promise.all(Array.from({ length: concurrency }, sender))
  await lines.return(undefined)
}

interface Answer {
  readonly repeated: boolean
  /** Why the order was rejected, without its details, so that reasons can be counted. */
  readonly reason?: string
}

/** Sends one order, again where the answer is missing: the receiver recognises an order it has. */
async function post(url: string, order: unknown): Promise<Answer> {
  let reason = ''
  for (let attempt = 1; attempt <= maxTries; attempt++) {
    try {
      const response = await fetch(new URL('/orders', url), { method: 'POST', body: JSON.stringify(order) })
      const body = (await response.json()) as {
        repeated?: boolean
        error?: string
        reasons?: { field: string; message: string }[]
      }
      if (response.ok) return { repeated: body.repeated === true }
      reason = `${response.status} ${body.reasons?.map(briefly).join(', ') || body.error}`
      if (response.status < 500) return { repeated: false, reason }
    } catch (error) {
      reason = `no answer: ${error instanceof Error ? error.message : error}`
    }
    await sleep(100 * attempt)
  }
  return { repeated: false, reason }
}

/** @example 'lines.0.quantity' and 'must be at least 1' become 'quantity must be at least 1' */
function briefly({ field, message }: { field: string; message: string }): string {
  return `${field.split('.').at(-1)} ${message}`
}
