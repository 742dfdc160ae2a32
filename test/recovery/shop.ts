/** An application with a worker, and a second one that sends: what is sent and resolved must run, whatever happens between. */
import { randomUUID } from 'node:crypto'
import { getEventListeners } from 'node:events'
import { expect, onTestFinished } from 'vitest'
import { Celeriac, type Logger } from '../../src/index.ts'

/** No test waits longer for a recovery than this, in ms; it takes less than 5 s. */
export const recoveredWithinMs = 30_000

export interface Shop {
  readonly queue: string
  /** Orders that were run, in the order of running; twice where that happened. */
  readonly ran: readonly number[]
  readonly sender: Celeriac
  /** Sends one order; resolves when the broker has it. */
  send(order: number): Promise<unknown>
  /** Every one of these orders has run. */
  expectRun(orders: readonly number[]): Promise<void>
  /** A new order is sent and run, and no waits have piled up. */
  expectWell(): Promise<void>
  /** Worker or sender has logged this as a warning or an error. */
  expectLogged(words: string): Promise<void>
}

export interface ShopOptions {
  /** Whether the worker answers remote control. @default true */
  readonly remoteControl?: boolean
  /** The worker's URL, where it takes another way than the sender. */
  readonly workerUrl?: string
  readonly publishTimeout?: `${number}ms`
  /** What a run does before it is over. */
  readonly work?: (order: number) => Promise<void>
}

const ignore = (): void => undefined

export const silent: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }

let orders = 1_000_000

export async function openShop(url: string, options: ShopOptions = {}): Promise<Shop> {
  const { workerUrl = url, publishTimeout = '60000ms', remoteControl = true, work } = options
  const ran: number[] = []
  const logged: string[] = []
  const write = (fields: object, message: string): void => {
    const { error } = fields as { error?: Error }
    logged.push(`${message}: ${error?.message ?? ''} ${JSON.stringify(fields)}`)
  }
  const logger: Logger = { debug: () => undefined, info: () => undefined, warn: write, error: write }
  const queue = `orders-${randomUUID()}`
  const common = { defaultQueue: queue, publishTimeout, logger }
  const app = new Celeriac('worker', { broker: workerUrl, ...common })
  const sender = new Celeriac('sender', { broker: url, ...common })
  app.task('pick', async (order: number) => {
    await work?.(order)
    ran.push(order)
  })
  const pick = sender.remote<[number], void>('pick')
  onTestFinished(async () => {
    await sender.close()
    await app.close()
  })
  const { stopping } = await app.worker({ shutdownTimeout: '1s', remoteControl })
  const send = (order: number): Promise<unknown> => pick.delay(order)
  const expectRun = async (expected: readonly number[]): Promise<void> => {
    const missing = (): number[] => {
      const known = new Set(ran)
      return expected.filter((order) => !known.has(order))
    }
    await expect.poll(missing, { timeout: recoveredWithinMs, interval: 20 }).toEqual([])
  }
  const expectWell = async (): Promise<void> => {
    orders += 1
    await send(orders)
    await expectRun([orders])
    // However often it was interrupted, what waited for its end waits no longer. Node warns from 11 on.
    expect(getEventListeners(stopping, 'abort').length).toBeLessThan(8)
  }
  const expectLogged = (words: string): Promise<void> =>
    expect.poll(() => logged.join('\n'), { timeout: recoveredWithinMs, interval: 20 }).toContain(words)
  await expectWell()
  return { queue, ran, sender, send, expectRun, expectWell, expectLogged }
}

/** Sends orders as fast as it goes until told to stop; tells which were accepted. */
export function sendAlong(shop: Shop): { stop(): Promise<number[]> } {
  const accepted: number[] = []
  let order = 0
  let isOver = false
  const sending = (async () => {
    while (!isOver) {
      const batch = Array.from({ length: 20 }, () => order++)
      await Promise.all(batch.map((one) => shop.send(one).then(() => accepted.push(one))))
    }
  })()
  return {
    stop: async () => {
      isOver = true
      await sending
      return accepted
    },
  }
}
