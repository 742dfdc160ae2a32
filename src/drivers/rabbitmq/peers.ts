/**
 * The other processes on this vhost. They are told when a queue is paused, and asked what they hold: AMQP tells how many
 * messages are ready, but not how many are on loan.
 */
import { randomUUID } from 'node:crypto'
import type { Topics } from './topics.ts'

/** What consumers have of a queue. */
export interface Held {
  /** Messages on loan. */
  readonly loaned: number
  /** Messages that arrived and were not fetched: the server does not count them as ready any more. */
  readonly arrived: number
  /** AMQP consumers, of which a consumer has any number. */
  readonly subscriptions: number
  readonly consumers: number
}

/** A consumer, as far as it is asked by others. */
export interface Holder {
  holds(queue: string): { loaned: number; arrived: number; subscriptions: number; isConsumed: boolean }
  setPaused(queue: string, isPaused: boolean): Promise<void>
}

export const nothingHeld: Held = { loaned: 0, arrived: 0, subscriptions: 0, consumers: 0 }

/** A process that is busy answers late; one that is lost counts for nothing. Longest wait for answers, in ms. */
const answerMs = 500

interface Notice {
  readonly from: string
  readonly queue: string
  readonly isPaused: boolean
}

interface Question {
  readonly from: string
  readonly queues: readonly string[]
}

export class Peers {
  readonly #topics: Topics
  readonly #consumers: ReadonlySet<Holder>
  readonly #id = randomUUID()
  #listening: Promise<unknown> | undefined

  constructor(topics: Topics, consumers: ReadonlySet<Holder>) {
    this.#topics = topics
    this.#consumers = consumers
  }

  /** Listens, so that this process hears and is heard of. */
  async open(): Promise<void> {
    this.#listening ??= this.#topics
      .subscribe(['paused', 'holdings'], ({ topic, payload, reply }) => {
        if ((payload as Notice | Question | null)?.from === this.#id) return
        const answer = topic === 'paused' ? this.#paused(payload as Notice) : this.#holdings(payload as Question)
        answer.then((value) => reply?.(value)).catch(() => undefined)
      })
      .catch((error) => {
        this.#listening = undefined
        throw error
      })
    await this.#listening
  }

  /** Resolves when everybody has heard and obeyed, or is too slow to answer. */
  async tellPaused(queue: string, isPaused: boolean): Promise<void> {
    const notice: Notice = { from: this.#id, queue, isPaused }
    await Promise.all([this.#paused(notice), this.#ask('paused', notice)])
  }

  /** What all processes have of these queues, this one included. */
  async held(queues: readonly string[]): Promise<Map<string, Held>> {
    const question: Question = { from: this.#id, queues }
    const [own, others] = await Promise.all([this.#holdings(question), this.#ask('holdings', question)])
    const sums = new Map<string, Held>()
    for (const answer of [own, ...others]) {
      if (!Array.isArray(answer)) continue
      queues.forEach((queue, index) => {
        sums.set(queue, add(sums.get(queue) ?? nothingHeld, answer[index] as Partial<Held> | undefined))
      })
    }
    return sums
  }

  async #ask(topic: string, payload: unknown): Promise<unknown[]> {
    await this.open()
    const others = (await this.#topics.listeners()) - 1
    return others > 0 ? this.#topics.request(topic, payload, { timeoutMs: answerMs, replies: others }) : []
  }

  async #paused({ queue, isPaused }: Notice): Promise<null> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.setPaused(queue, isPaused)))
    return null
  }

  async #holdings({ queues }: Question): Promise<Held[]> {
    return queues.map((queue) => {
      let held = nothingHeld
      for (const consumer of this.#consumers) {
        const { isConsumed, ...counts } = consumer.holds(queue)
        held = add(held, { ...counts, consumers: isConsumed ? 1 : 0 })
      }
      return held
    })
  }
}

function add(one: Held, other: Partial<Held> = {}): Held {
  return {
    loaned: one.loaned + (other.loaned ?? 0),
    arrived: one.arrived + (other.arrived ?? 0),
    subscriptions: one.subscriptions + (other.subscriptions ?? 0),
    consumers: one.consumers + (other.consumers ?? 0),
  }
}
