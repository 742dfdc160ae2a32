/**
 * Acknowledgements of one channel, those of one turn of the event loop together: as far as nothing older is still open,
 * one frame says it for all (`multiple`), which doubles what a consumer takes off RabbitMQ.
 */
import type { Channel, Message } from 'amqplib'
import { LeaseLostError } from '../../errors.ts'

export class Acks {
  readonly #channel: Channel
  /** Tags of what is not acknowledged, oldest first: the server counts them up. */
  readonly #open = new Set<number>()
  #tags: number[] = []
  #flushing: Promise<void> | undefined
  #isAlive = true

  constructor(channel: Channel) {
    this.#channel = channel
    channel.once('close', () => {
      this.#isAlive = false
    })
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  /** A delivery came. */
  opened(tag: number): void {
    this.#open.add(tag)
  }

  /** Resolves once it is written. @throws LeaseLostError the channel is gone, and the message with it */
  add(tag: number): Promise<void> {
    this.#tags.push(tag)
    this.#flushing ??= new Promise((resolve, reject) => {
      setImmediate(() => {
        this.#flushing = undefined
        if (this.#flush()) resolve()
        else
          reject(new LeaseLostError('the channel closed before this message was acknowledged; it is delivered again'))
      })
    })
    return this.#flushing
  }

  /** Whatever was added is written when it resolves. */
  async settled(): Promise<void> {
    await this.#flushing?.catch(() => undefined)
  }

  #flush(): boolean {
    const tags = new Set(this.#tags)
    this.#tags = []
    if (!this.#isAlive) return false
    let upTo = 0
    for (const tag of this.#open) {
      if (!tags.delete(tag)) break
      upTo = tag
      this.#open.delete(tag)
    }
    try {
      if (upTo > 0) this.#channel.ack(messageOf(upTo), true)
      for (const tag of tags) {
        this.#open.delete(tag)
        this.#channel.ack(messageOf(tag))
      }
      return true
    } catch {
      // amqplib refuses to write to a channel that is closing.
      return false
    }
  }
}

/** amqplib wants a message, and reads its tag. */
function messageOf(deliveryTag: number): Message {
  return { fields: { deliveryTag } } as Message
}
