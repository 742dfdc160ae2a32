/**
 * Publishes of one turn of the event loop in one transaction. While the server is away they wait, a bounded number of
 * them, and go on in their order when it is back.
 */
import type { OutgoingMessage } from '../../broker/broker.ts'
import { CeleriacError } from '../../errors.ts'
import type { RedisClient } from './client.ts'
import { EnvelopeWriter } from './envelope.ts'
import type { Plain } from './journal.ts'
import { listKey, stepOf, wirePriority } from './keys.ts'
import { publishScript } from './scripts.ts'

export const maxMessageBytes = 32 * 1024 * 1024

/** What may wait for a server that is away. */
const mostWaiting = { messages: 10_000, characters: 64 * 1024 * 1024 }
/** A call that is full is sent, and another begun; no publish is divided between two. */
const fullCall = { messages: 1_000, characters: 1_000_000 }
/** Messages in one command. */
const fullPush = 100

/** A message as the scripts take it. */
export interface Encoded {
  readonly queue: string
  readonly step: number
  readonly delayMs: number
  readonly envelope: string
}

interface Call {
  readonly messages: Encoded[]
  characters: number
  readonly waiting: { resolve: () => void; reject: (error: unknown) => void }[]
}

export class Outbox {
  readonly #client: RedisClient
  readonly #onDelayed: (nextMs: number) => void
  readonly #onQueue: (queue: string) => void
  readonly #under = { messages: 0, characters: 0 }
  readonly #envelopes = new EnvelopeWriter()
  #call: Call | undefined

  /** `onDelayed` is told ms until the next delayed message is due; `onQueue` each queue before it is published to. */
  constructor(client: RedisClient, onQueue: (queue: string) => void, onDelayed: (nextMs: number) => void) {
    this.#client = client
    this.#onQueue = onQueue
    this.#onDelayed = onDelayed
  }

  /** @throws CeleriacError `PAYLOAD_TOO_LARGE`, `BROKER_BUSY`, `PUBLISH_TIMEOUT`, `BROKER_UNAVAILABLE`, `STORAGE_FULL` */
  publish(messages: Iterable<OutgoingMessage>): Promise<void> {
    const encoded = this.encode(messages)
    if (encoded.length === 0) return Promise.resolve()
    const characters = encoded.reduce((sum, { envelope }) => sum + envelope.length, 0)
    this.#refuseOverflow(encoded.length, characters)
    return new Promise((resolve, reject) => {
      const call = this.#open(encoded.length, characters)
      for (const message of encoded) call.messages.push(message)
      call.characters += characters
      call.waiting.push({ resolve, reject })
    })
  }

  /** @throws CeleriacError `PAYLOAD_TOO_LARGE` */
  encode(messages: Iterable<OutgoingMessage>): Encoded[] {
    const nowMs = this.#client.clock.now()
    const encoded: Encoded[] = []
    for (const message of messages) {
      const envelope = this.#envelopes.write(message, nowMs)
      refuseTooLarge(message, envelope)
      this.#onQueue(message.queue)
      const step = stepOf(wirePriority(message.properties))
      encoded.push({ queue: message.queue, step, delayMs: message.delayMs ?? 0, envelope })
    }
    return encoded
  }

  /** To be told what a script that publishes replied: ms until the next delayed message is due, -1, or ''. */
  published(next: string): void {
    if (next !== '-1' && next !== '') this.#onDelayed(Number(next))
  }

  #open(messages: number, characters: number): Call {
    const open = this.#call
    if (
      open !== undefined &&
      open.messages.length + messages <= fullCall.messages &&
      open.characters + characters <= fullCall.characters
    ) {
      return open
    }
    if (open !== undefined) void this.#send(open)
    const call: Call = { messages: [], characters: 0, waiting: [] }
    this.#call = call
    const send = (): void => {
      if (this.#call === call) void this.#send(call)
    }
    // The first goes as soon as whoever runs now is done; while it is under way, what a turn brings goes together.
    if (this.#under.messages === 0) process.nextTick(send)
    else setImmediate(send)
    return call
  }

  async #send(call: Call): Promise<void> {
    if (this.#call === call) this.#call = undefined
    const { messages, characters, waiting } = call
    const { prefix, publishTimeoutMs } = this.#client
    this.#under.messages += messages.length
    this.#under.characters += characters
    try {
      const args = [prefix, ...argumentsOf(messages)]
      const next = await this.#client.ordered(publishScript, args, publishTimeoutMs, pushesOf(messages, prefix))
      this.published(next)
      for (const { resolve } of waiting) resolve()
    } catch (error) {
      for (const { reject } of waiting) reject(error)
    } finally {
      this.#under.messages -= messages.length
      this.#under.characters -= characters
    }
  }

  #refuseOverflow(messages: number, characters: number): void {
    if (this.#client.isUp || this.#under.messages === 0) return
    if (
      this.#under.messages + messages <= mostWaiting.messages &&
      this.#under.characters + characters <= mostWaiting.characters
    ) {
      return
    }
    throw new CeleriacError(
      'BROKER_BUSY',
      `${this.#under.messages} messages wait for the Redis server ${this.#client.where} to come back; no more are taken until then`,
    )
  }
}

/** The messages as plain commands; undefined when one is delayed. Small enough to be taken in while the next is written. */
function pushesOf(messages: readonly Encoded[], prefix: string): Plain[] | undefined {
  const pushes: Plain[] = []
  for (let i = 0; i < messages.length; ) {
    const { queue, step, delayMs } = messages[i] as Encoded
    if (delayMs > 0) return undefined
    const envelopes: string[] = []
    while (i < messages.length && envelopes.length < fullPush && isLike(messages[i] as Encoded, queue, step)) {
      envelopes.push((messages[i] as Encoded).envelope)
      i += 1
    }
    pushes.push(['LPUSH', listKey(prefix, queue, step), ...envelopes])
  }
  return pushes
}

/** As `publishLua` takes them: neighbours with the same fate share their head. */
export function argumentsOf(messages: readonly Encoded[]): (string | number)[] {
  const args: (string | number)[] = []
  for (let i = 0; i < messages.length; ) {
    const { queue, step, delayMs, envelope } = messages[i] as Encoded
    if (delayMs > 0) {
      args.push('later', queue, step, Math.ceil(delayMs), envelope)
      i += 1
      continue
    }
    let end = i + 1
    while (end < messages.length && isLike(messages[end] as Encoded, queue, step)) end += 1
    args.push('now', queue, step, end - i)
    for (; i < end; i++) args.push((messages[i] as Encoded).envelope)
  }
  return args
}

function isLike(message: Encoded, queue: string, step: number): boolean {
  return message.queue === queue && message.step === step && message.delayMs <= 0
}

/** Headers and body count. A character takes at most three bytes, so most messages need no exact measure. */
function refuseTooLarge({ headers, body }: OutgoingMessage, envelope: string): void {
  if (envelope.length * 3 <= maxMessageBytes) return
  const bytes =
    Buffer.byteLength(JSON.stringify(headers)) + (typeof body === 'string' ? Buffer.byteLength(body) : body.length)
  if (bytes <= maxMessageBytes) return
  throw new CeleriacError(
    'PAYLOAD_TOO_LARGE',
    `a message of ${bytes} bytes exceeds the ${maxMessageBytes} this broker takes; nothing was sent`,
  )
}
