/** Celeriac on its SQLite driver, as built: what is measured is `dist/`, not the sources. */
import { join } from 'node:path'
import { nativeImport } from '../harness/native-import.ts'
import { type Payload, payload } from '../harness/payload.ts'
import { until } from '../harness/time.ts'
import type { Claimer, Session, Store, Working, WorkOptions } from './side.ts'

const queue = 'bench'
/** Tasks per bulk call: one transaction each. */
const bulkSize = 1_000
const built = new URL('../../dist/index.js', import.meta.url).href

export async function openCeleriac({ directory, durability }: Store): Promise<Session> {
  const { Celeriac, chain } = (await nativeImport(built)) as typeof import('../../src/index.ts')
  const app = new Celeriac('bench', {
    broker: `sqlite://${join(directory, 'celeriac.db')}`,
    durability,
    defaultQueue: queue,
  })
  let began: () => void = () => {}
  let handle: (payload: Payload) => void = () => {}
  const noop = app.task('bench.noop', (data: Payload) => {
    began()
    handle(data)
  })
  const first = app.task('bench.first', (data: Payload) => {
    began()
    return data
  })
  const second = app.task('bench.second', (data: Payload) => data)
  const last = app.task('bench.last', (data: Payload) => handle(data))
  await app.open()

  const sendAll = async (payloads: readonly Payload[], options: { eta?: Date }): Promise<void> => {
    for (let from = 0; from < payloads.length; from += bulkSize) {
      const chunk = payloads.slice(from, from + bulkSize)
      await noop.delayMany(
        chunk.map((data): [Payload] => [data]),
        options,
      )
    }
  }

  return {
    send: (data) => noop.delay(data),
    sendMany: (payloads) => sendAll(payloads, {}),
    sendDelayed: (payloads, dueAtMs) => sendAll(payloads, { eta: new Date(dueAtMs) }),
    sendChain: (data) => chain(first.s(data), second.s(), last.s()).delay(),
    waiting: async () => (await app.broker.depth(queue)).ready,

    async work(options: WorkOptions, body): Promise<Working> {
      let ran = 0
      began = options.began ?? began
      handle = (data) => {
        ran += 1
        body(data)
      }
      const worker = await app.worker({ queues: [queue], concurrency: options.concurrency })
      const isEmpty = async (): Promise<boolean> => {
        const { ready, delayed, inFlight } = await app.broker.depth(queue)
        return ready + delayed + inFlight === 0
      }
      return {
        settled: async (count) => {
          await until(() => ran >= count, 1, 600_000)
          await until(isEmpty, 1, 60_000)
        },
        stop: () => worker.stop(),
      }
    },

    async claimer(): Promise<Claimer> {
      const consumer = await app.broker.consume([queue])
      return {
        async claim(max) {
          const deliveries = await consumer.fetch(max)
          return {
            indexes: deliveries.map(({ message }) => indexOf(message.body)),
            ack: async () => {
              await Promise.all(deliveries.map((delivery) => delivery.ack()))
            },
          }
        },
        close: () => consumer.close(),
      }
    },

    async messageBytes() {
      const [message] = await app.broker.peek(queue, 1)
      if (message === undefined) throw new Error('no message to look at')
      const { headers, properties, body } = message
      return JSON.stringify(headers).length + JSON.stringify(properties).length + body.length
    },
    close: () => app.close(),
  }
}

/** The payload's index, from a protocol 2 body. */
function indexOf(body: string | Uint8Array): number {
  const [args] = JSON.parse(typeof body === 'string' ? body : Buffer.from(body).toString()) as [[Payload]]
  return (args[0] ?? payload(-1)).i
}
