/**
 * Dead letters: messages that were given up, whole, on the queue `<queue>.dead`, with the story of their end in a header.
 * Built from broker operations alone. Redriving or dropping takes the letters on loan like any consumer; what is not
 * meant goes back to its place, so a run that is killed loses nothing.
 */
import type { Broker, Delivery, Message, OutgoingMessage, PeekedMessage } from '../broker/broker.ts'
import type { Clock } from '../clock.ts'
import { sleep } from '../clock.ts'
import { CeleriacError } from '../errors.ts'
import type { ResultRecord, ResultStore } from '../result/result-store.ts'
import type { Content } from './content.ts'
import { remainingPlaces } from './continuation.ts'
import { embedOf } from './decode-task.ts'
import { argsRepr, kwargsRepr } from './repr.ts'
import { withoutRoutingHistory } from './routing-history.ts'
import type { AttemptRecord, CeleriacHeader, DeadLetterHeader, WireSignature } from './wire.ts'

export const deadSuffix = '.dead'

/** Attempts kept with a message; the first one and the last ones tell the story. */
const maxAttempts = 10
/** Letters that were counted arrive within this time, unless somebody else has taken them. */
const arrivalMs = 1_000

export interface DeadLetter {
  /** Task id; the empty string where the message had none that could be read. */
  readonly id: string
  readonly task: string | null
  /** The queue it came from and goes back to. */
  readonly queue: string
  readonly reason: string
  readonly error: DeadLetterHeader['error']
  readonly worker: string
  /** When it was given up, ISO 8601. */
  readonly at: string
  readonly deliveries: number
  readonly attempts: readonly AttemptRecord[]
  readonly args: unknown
  readonly kwargs: unknown
  /** Tasks that wait behind it in its chain, the next one first. */
  readonly next: readonly string[]
  readonly message: Message
}

/** Which dead letters: of one queue or all, and those with one of the ids or that pass the filter. */
export interface DeadLetterChoice {
  readonly queue?: string
  readonly ids?: readonly string[]
  readonly filter?: (letter: DeadLetter) => boolean
}

export interface RedriveOptions extends DeadLetterChoice {
  /** At most so many a second. @default as fast as it goes */
  readonly perSecond?: number
  /** Other arguments than those that failed. */
  readonly edit?: (letter: DeadLetter) => Arguments
}

interface Arguments {
  readonly args?: readonly unknown[]
  readonly kwargs?: Readonly<Record<string, unknown>>
}

/** The message as a dead letter. `celeriac` holds what its header said before, and the attempts up to now. */
export function deadLetterOf(message: Message, celeriac: CeleriacHeader, dead: DeadLetterHeader): OutgoingMessage {
  const { expirationMs: _expired, ...properties } = message.properties
  return {
    queue: `${dead.queue}${deadSuffix}`,
    headers: { ...withoutRoutingHistory(message.headers), celeriac: { ...celeriac, dead } },
    properties,
    body: message.body,
  }
}

export function addAttempt(attempts: readonly AttemptRecord[] | undefined, attempt: AttemptRecord): AttemptRecord[] {
  const all = [...(attempts ?? []), attempt]
  return all.length <= maxAttempts ? all : [all[0] as AttemptRecord, ...all.slice(-(maxAttempts - 1))]
}

export class DeadLetters {
  readonly #broker: Broker
  readonly #results: ResultStore | undefined
  readonly #clock: Clock
  readonly #content: Content

  constructor(broker: Broker, results: ResultStore | undefined, clock: Clock, content: Content) {
    this.#broker = broker
    this.#results = results
    this.#clock = clock
    this.#content = content
  }

  /** Oldest first. Without a queue, those of all queues. */
  async list({ queue, limit = 100 }: { queue?: string; limit?: number } = {}): Promise<DeadLetter[]> {
    const letters: DeadLetter[] = []
    for (const dead of await this.#queues(queue)) {
      const peeked = await this.#broker.peek(dead, limit - letters.length)
      letters.push(...peeked.map((message) => this.#letterOf(message, message.deliveryCount)))
      if (letters.length >= limit) break
    }
    return letters
  }

  /** @throws CeleriacError `DEAD_LETTER_UNKNOWN` when no dead letter has this id */
  async show(id: string, queue?: string): Promise<DeadLetter> {
    for (const dead of await this.#queues(queue)) {
      const found = await this.#find(dead, id)
      if (found !== undefined) return this.#letterOf(found, found.deliveryCount)
    }
    throw new CeleriacError(
      'DEAD_LETTER_UNKNOWN',
      `no dead letter has the id '${id}'; \`celeriac dlq list\` shows them`,
    )
  }

  /** Sends the chosen ones back to their queues, the rest of their pipelines with them. Tells how many. */
  async redrive(options: RedriveOptions): Promise<number> {
    const { perSecond } = options
    if (perSecond !== undefined && !(perSecond > 0)) {
      throw new CeleriacError('CONFIG_INVALID', `\`perSecond\` must be more than 0, got ${perSecond}`)
    }
    const pauseMs = perSecond === undefined ? 0 : 1_000 / perSecond
    const redrive = (letter: DeadLetter, delivery: Delivery): Promise<void> =>
      this.#redriveOne(letter, delivery, this.#revived(letter, options.edit?.(letter)))
    if (pauseMs === 0) return this.#take(options, redrive)
    // With a rate they go one after the other, so each waits for those before it.
    let turn = Promise.resolve()
    return this.#take(options, (letter, delivery) => {
      turn = turn.then(() => redrive(letter, delivery)).then(() => sleep(this.#clock, pauseMs))
      return turn
    })
  }

  /** Removes the chosen ones for good. Tells how many. */
  async drop(choice: DeadLetterChoice): Promise<number> {
    return this.#take(choice, (_letter, delivery) => delivery.reject())
  }

  /** The states of the task and of the steps behind it go back to PENDING, so that who asks is not told the old end. */
  async #redriveOne(letter: DeadLetter, delivery: Delivery, revived: OutgoingMessage): Promise<void> {
    const results = this.#results
    const save = results === undefined ? [] : await this.#pendingAgain(letter, results)
    if (results === undefined || save.length === 0) return delivery.ack({ publish: [revived] })
    if (results.sharesStorageWith(this.#broker)) return delivery.ack({ publish: [revived], save })
    await results.save(save)
    await delivery.ack({ publish: [revived] })
  }

  #revived(letter: DeadLetter, edit: Arguments = {}): OutgoingMessage {
    const { message } = letter
    const {
      dead: _dead,
      losses: _losses,
      reserved: _reserved,
      ...celeriac
    } = (message.headers.celeriac ?? {}) as CeleriacHeader
    const headers = {
      ...withoutRoutingHistory(message.headers),
      retries: 0,
      eta: null,
      expires: null,
      celeriac: { ...celeriac, sent: this.#clock.now() },
    }
    if (edit.args === undefined && edit.kwargs === undefined) return { ...message, headers, queue: letter.queue }
    return { ...message, ...this.#edited(message, headers, edit), queue: letter.queue }
  }

  /** The body with other arguments, in the serialization it came in. @throws CeleriacError `MESSAGE_INVALID` */
  #edited(message: Message, { compression: _inflated, ...headers }: Message['headers'], edit: Arguments): Message {
    const { properties } = message
    const body = this.#content.readAny(message)
    const old = argumentsIn(body)
    const { args = old.args, kwargs = old.kwargs } = edit
    const edited = Array.isArray(body) ? [args, kwargs, body[2] ?? {}] : { ...(body as object), args, kwargs }
    const encoded = this.#content.write(edited, properties.contentType, 'none')
    const reprs = {
      argsrepr: argsRepr(args as readonly unknown[]),
      kwargsrepr: kwargsRepr(kwargs as Record<string, unknown>),
    }
    return { headers: { ...headers, ...reprs }, properties, body: encoded.body }
  }

  /** Goes once through the letters there are now, so that one that dies again at once is not met again. */
  async #take(
    choice: DeadLetterChoice,
    settle: (letter: DeadLetter, delivery: Delivery) => Promise<void>,
  ): Promise<number> {
    let taken = 0
    for (const dead of await this.#queues(choice.queue)) {
      const { ready } = await this.#broker.depth(dead)
      const consumer = await this.#broker.consume([dead], { name: 'dead-letters' })
      try {
        for (let seen = 0; seen < ready; ) {
          const deliveries = await consumer.fetch(Math.min(500, ready - seen), { waitMs: arrivalMs })
          if (deliveries.length === 0) break
          seen += deliveries.length
          const settled = deliveries.map(async (delivery) => {
            const letter = this.#letterOf(delivery.message, delivery.deliveryCount, dead)
            if (!isChosen(letter, choice)) return
            await settle(letter, delivery)
            taken += 1
          })
          await Promise.all(settled)
        }
      } finally {
        await consumer.close()
      }
    }
    return taken
  }

  #letterOf(message: Message & { queue?: string }, deliveries: number, deadQueue = message.queue ?? ''): DeadLetter {
    const { id, task, celeriac } = message.headers
    const { dead, attempts = [] } = (celeriac ?? {}) as CeleriacHeader
    const body = this.#bodyOf(message)
    return {
      id: typeof id === 'string' ? id : '',
      task: typeof task === 'string' ? task : null,
      queue: dead?.queue ?? deadQueue.slice(0, -deadSuffix.length),
      reason: dead?.reason ?? 'unknown',
      error: dead?.error ?? null,
      worker: dead?.worker ?? '',
      at: dead?.at ?? '',
      deliveries: dead?.deliveries ?? deliveries,
      attempts,
      ...argumentsIn(body),
      next: remainingPlaces('', chainIn(body)).map(({ signature }) => signature.task),
      message: { headers: message.headers, properties: message.properties, body: message.body },
    }
  }

  /** Undefined where it cannot be read. */
  #bodyOf(message: Message): unknown {
    try {
      return this.#content.readAny(message)
    } catch {
      return undefined
    }
  }

  async #pendingAgain(letter: DeadLetter, results: ResultStore): Promise<ResultRecord[]> {
    const places = remainingPlaces(letter.id, chainIn(this.#bodyOf(letter.message)))
    const ids = [letter.id, ...places.map(({ signature }) => signature.options.task_id as string)]
    const records = await results.load(ids)
    return records
      .filter((record) => record !== undefined)
      .map((record) => ({
        ...record,
        status: 'PENDING',
        result: null,
        traceback: null,
        dateDone: null,
        doneAt: null,
        startedAt: null,
        worker: null,
      }))
  }

  async #find(dead: string, id: string): Promise<PeekedMessage | undefined> {
    const page = 200
    for (let offset = 0; ; offset += page) {
      const messages = await this.#broker.peek(dead, page, offset)
      const found = messages.find((message) => message.headers.id === id)
      if (found !== undefined || messages.length < page) return found
    }
  }

  async #queues(queue: string | undefined): Promise<string[]> {
    if (queue !== undefined) return [queue.endsWith(deadSuffix) ? queue : `${queue}${deadSuffix}`]
    const all = await this.#broker.queues()
    return all.map((info) => info.queue).filter((name) => name.endsWith(deadSuffix))
  }
}

function isChosen(letter: DeadLetter, { ids, filter }: DeadLetterChoice): boolean {
  return (ids === undefined || ids.includes(letter.id)) && (filter === undefined || filter(letter))
}

/** The arguments in a body of either protocol, as far as it has any. */
function argumentsIn(body: unknown): { args: unknown; kwargs: unknown } {
  if (Array.isArray(body)) return { args: body[0] ?? null, kwargs: body[1] ?? null }
  const { args = null, kwargs = null } = (body ?? {}) as { args?: unknown; kwargs?: unknown }
  return { args, kwargs }
}

/** The steps behind a task, the next one last; null also for what cannot be read. */
function chainIn(body: unknown): readonly WireSignature[] | null {
  try {
    return Array.isArray(body) ? embedOf(body[2]).chain : null
  } catch {
    return null
  }
}
