/** Workers that answer remote control from a script, such as what Python's workers were heard to answer. */
import { readFileSync } from 'node:fs'
import { type Bus, type BusHeaders, controlTopic } from '../../src/broker/bus.ts'

interface Exchange {
  readonly request: ControlRequest
  readonly wants_reply: boolean
  readonly replies: readonly Readonly<Record<string, unknown>>[]
}

export interface ControlRequest {
  readonly method: string
  readonly arguments: Readonly<Record<string, unknown>>
  readonly destination: readonly string[] | null
  readonly pattern: string | null
  readonly matcher: string | null
}

/** What Python's clients asked and its workers answered, by the name of the capture (Celery 5.6.3). */
const captures = JSON.parse(
  readFileSync(new URL('../fixtures/celery-control.json', import.meta.url), 'utf8'),
) as Readonly<Record<string, readonly Exchange[]>>

/** One exchange of a capture: the first, or the one with a method. */
export function capturedExchange(name: string, method?: string): Exchange {
  const found = captures[name]?.find(({ request }) => method === undefined || request.method === method)
  if (found === undefined) throw new Error(`no captured exchange ${name} ${method ?? ''}`)
  return found
}

export interface Heard {
  readonly request: ControlRequest
  readonly headers: BusHeaders
  readonly wantsReply: boolean
}

/** Answers every request with these replies, each a message of its own. @returns the requests, as they come */
export async function scriptReplies(bus: Bus, replies: readonly unknown[]): Promise<Heard[]> {
  const heard: Heard[] = []
  await bus.subscribe([controlTopic], ({ payload, headers, reply }) => {
    heard.push({ request: payload as ControlRequest, headers, wantsReply: reply !== undefined })
    for (const answer of replies) void reply?.(answer)
  })
  return heard
}
