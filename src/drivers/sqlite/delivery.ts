/** One claimed row, on loan under the consumer's lease. */
import type { Delivery, Effects, Message } from '../../broker/broker.ts'
import { LeaseLostError } from '../../errors.ts'
import type { Row } from './binding.ts'
import { textMark } from './outbox.ts'

/** What a delivery asks of its consumer. `lease` is the consumer's number at the time of the claim. */
export interface Loan {
  settle(lease: number, id: number, effects: Effects | undefined): Promise<void>
  /** `keptUntil` = it was claimed while it was kept back, until then (epoch ms), and goes back there; 0 = it was ready. */
  release(lease: number, id: number, delayMs: number, keptUntil: number): Promise<void>
  extend(lease: number, leaseMs: number): Promise<void>
}

export class SqliteDelivery implements Delivery {
  readonly queue: string
  readonly deliveryCount: number
  readonly delayMs: number
  readonly #loan: Loan
  readonly #lease: number
  readonly #id: number
  readonly #row: Row
  #message: Message | undefined
  #settled = false

  /** `now` = epoch ms; `message` spares reading the row, where it is known to say the same. */
  constructor(loan: Loan, lease: number, queue: string, row: Row, now: number, message?: Message) {
    this.queue = queue
    this.delayMs = row.due === undefined ? 0 : Math.max(0, Number(row.due) - now)
    this.deliveryCount = Number(row.deliveries) + 1
    this.#loan = loan
    this.#lease = lease
    this.#id = Number(row.id)
    this.#row = row
    this.#message = message
  }

  get message(): Message {
    this.#message ??= messageOf(this.#row)
    return this.#message
  }

  ack(effects?: Effects): Promise<void> {
    if (this.#settled) return alreadySettled()
    return this.#settle(this.#loan.settle(this.#lease, this.#id, effects))
  }

  release(delayMs = 0): Promise<void> {
    if (this.#settled) return alreadySettled()
    return this.#settle(this.#loan.release(this.#lease, this.#id, delayMs, Number(this.#row.due ?? 0)))
  }

  reject(): Promise<void> {
    return this.ack()
  }

  extend(leaseMs: number): Promise<void> {
    if (this.#settled) return alreadySettled()
    return this.#loan.extend(this.#lease, leaseMs)
  }

  /** A settlement that failed, on a full disk for example, may be tried again. */
  #settle(settlement: Promise<void>): Promise<void> {
    this.#settled = true
    settlement.catch(() => {
      this.#settled = false
    })
    return settlement
  }
}

function alreadySettled(): Promise<never> {
  return Promise.reject(new LeaseLostError('this delivery was settled before'))
}

/** A row of `payload` as a message. Bindings give blobs as ArrayBuffer or as Uint8Array. */
export function messageOf(row: Row): Message {
  const [headers, properties] = JSON.parse(row.head as string)
  const stored: unknown = row.body
  if (typeof stored === 'string') return { headers, properties, body: stored }
  const bytes = new Uint8Array(stored as ArrayBuffer)
  if (properties[textMark] === undefined) return { headers, properties, body: bytes }
  delete properties[textMark]
  return { headers, properties, body: Buffer.from(bytes).toString('utf8') }
}
