/**
 * How long messages are kept back: in queues that nobody consumes, each with a time after which RabbitMQ itself passes
 * its messages on (`x-message-ttl` and dead-lettering). There is one queue for each digit of a delay, so a message goes
 * through two to four of them, and waits out the delay as the sum.
 *
 * The idea of adding up times bit by bit is that of NServiceBus, which Celery ≥ 5.5 took over
 * (`kombu/transport/native_delayed_delivery.py`). Here the digits have base 32 instead of 2, which costs a third of the
 * passages; the smallest come first, so that many messages due at one moment lie in one queue when it comes; and the
 * target is a word of its own in the routing key, so that `orders` is never given what is for `eu.orders`.
 *
 * A routing key is `<target>.<digit 0>.<digit 1>…`, digits of 10 ms · 32^place, and every place has an exchange, which
 * looks at its digit only:
 *
 *     celeriac.delay.<place> ─ digit d ≠ 0 → queue celeriac.delay.<place>.<d> ─ after its time → celeriac.delay.<place + 1>
 *                            ─ digit 0 → celeriac.delay.<place + 1>
 *                            ─ no more digits → celeriac.delay.due → the target
 *
 * The queues are quorum queues with at-least-once dead-lettering (RabbitMQ ≥ 3.10): the only kind whose messages survive
 * the death of the server in the very moment they pass from one queue to the next.
 */
import { createHash } from 'node:crypto'
import type { Channel } from 'amqplib'

const base = 32
/** What one of digit 0 stands for, in ms: the finest step. */
const unitMs = 10
const places = 7
/** Longer delays are rounded up to whole digits of place 1 (320 ms), which spares them a passage. In ms. */
const exactBelowMs = 82_000

/** Whoever may come early does so by at least so much: what passing from queue to queue may take under load. In ms. */
const earlyMs = 5_000
/** And waits until then in as few queues as can be: whole digits of place 2. In ms. */
const coarseMs = unitMs * base ** 2

/** About 10.9 years. */
export const maxDelayMs = (base ** places - 1) * unitMs

export const delayPrefix = 'celeriac.delay.'
const dueExchange = `${delayPrefix}due`
/** Where messages end whose queue was deleted while they waited: dead-lettering must not be held up by them. */
const unroutedName = `${delayPrefix}unrouted`

/** The way of one message. */
export interface DelayRoute {
  /** Where it is published to. */
  readonly exchange: string
  readonly routingKey: string
  /** The queues it passes through. */
  readonly stops: readonly Stop[]
}

interface Stop {
  readonly place: number
  readonly digit: number
}

/** @param delayMs more than 0, at most `maxDelayMs` */
export function delayRoute(queue: string, delayMs: number): DelayRoute {
  const exact = Math.ceil(delayMs / unitMs)
  const units = delayMs < exactBelowMs ? exact : Math.ceil(exact / base) * base
  const digits: number[] = []
  for (let rest = Math.min(units, base ** places - 1); rest > 0; rest = Math.floor(rest / base))
    digits.push(rest % base)
  const stops = digits.map((digit, place) => ({ place, digit })).filter(({ digit }) => digit !== 0)
  return {
    exchange: exchangeOf(stops[0]?.place ?? 0),
    routingKey: `${targetWord(queue)}.${digits.join('.')}`,
    stops,
  }
}

/**
 * How long to keep back first what must wait `delayMs`, when a consumer that meets it too early gives it back for the
 * rest. A server under load is late with every passage and adds them up; the rest is reckoned anew, and is short.
 */
export function outwardMs(delayMs: number): number {
  const coarse = Math.floor((delayMs - earlyMs) / coarseMs) * coarseMs
  return coarse > 0 ? coarse : delayMs
}

/** The word that stands for a queue in routing keys: its name where that is a word, and short enough; else a digest. */
export function targetWord(queue: string): string {
  const word = encodeURIComponent(queue).replace(/[.*]/g, (dot) => (dot === '.' ? '%2E' : '%2A'))
  return word.length <= 160 ? word : `sha256-${createHash('sha256').update(queue).digest('hex')}`
}

/** Every exchange, and what leads from one to the next. */
export async function declareExchanges(channel: Channel): Promise<void> {
  await channel.assertExchange(unroutedName, 'fanout')
  await channel.assertQueue(unroutedName)
  await channel.bindQueue(unroutedName, unroutedName, '')
  await channel.assertExchange(dueExchange, 'topic', { alternateExchange: unroutedName })
  for (let place = places; place >= 0; place--) {
    await channel.assertExchange(exchangeOf(place), 'topic')
    const digitsBefore = '.*'.repeat(place)
    await channel.bindExchange(dueExchange, exchangeOf(place), `*${digitsBefore}`)
    if (place < places) await channel.bindExchange(exchangeOf(place + 1), exchangeOf(place), `*${digitsBefore}.0.#`)
  }
}

export async function declareStop(channel: Channel, { place, digit }: Stop): Promise<void> {
  const queue = stopName({ place, digit })
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      'x-message-ttl': digit * base ** place * unitMs,
      'x-dead-letter-exchange': exchangeOf(place + 1),
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
      // Who looks through it gives most of it back. From version 4 on, messages would be dropped after 20 times.
      'x-delivery-limit': 1_000_000,
    },
  })
  await channel.bindQueue(queue, exchangeOf(place), `*${'.*'.repeat(place)}.${digit}.#`)
}

/** Lets a queue have what falls due for it. */
export async function bindTarget(channel: Channel, queue: string): Promise<void> {
  await channel.bindQueue(queue, dueExchange, `${targetWord(queue)}.#`)
}

export function stopName({ place, digit }: Stop): string {
  return `${delayPrefix}${place}.${digit}`
}

function exchangeOf(place: number): string {
  return `${delayPrefix}${place}`
}
