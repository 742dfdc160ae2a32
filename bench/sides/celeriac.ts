/** Celeriac as built: what is measured is `dist/`, not the sources. */
import { nativeImport } from '../harness/native-import.ts'
import { type Payload, payload } from '../harness/payload.ts'
import { until } from '../harness/time.ts'
import { type Claimer, eachWith, type Handle, ownCpuUs, type Session, type Store, type Working } from './side.ts'

const queue = 'bench'
/** Tasks per bulk call: on SQLite one transaction each. */
const bulkSize = 1_000
const built = new URL('../../dist/index.js', import.meta.url).href

export async function openCeleriac(store: Store): Promise<Session> {
  const { Celeriac, chain, chord } = (await nativeImport(built)) as typeof import('../../src/index.ts')
  const app = new Celeriac('bench', {
    broker: store.queueType === 'quorum' ? `${store.url}?queue_type=quorum` : store.url,
    results: store.resultsUrl === store.url ? true : (store.resultsUrl ?? false),
    durability: store.durability,
    defaultQueue: queue,
  })
  let began: () => void = () => {}
  let handle: Handle = () => {}
  const noop = app.task('bench.noop', (data: Payload) => {
    began()
    handle(data)
    return data.i
  })
  const first = app.task('bench.first', (data: Payload) => {
    began()
    return data
  })
  const second = app.task('bench.second', (data: Payload) => data)
  const member = app.task('bench.member', () => null)
  const last = app.task('bench.last', (data: Payload) => handle(data))
  await app.open()
  const send = (data: Payload): Promise<unknown> => noop.delay(data)

  return {
    send,
    sendEach: eachWith(send),
    async sendMany(payloads) {
      for (let from = 0; from < payloads.length; from += bulkSize) {
        await noop.delayMany(payloads.slice(from, from + bulkSize).map((data): [Payload] => [data]))
      }
    },
    async sendDelayed(payloads) {
      for (const [dueAtMs, group] of byDueTime(payloads)) {
        for (let from = 0; from < group.length; from += bulkSize) {
          const calls = group.slice(from, from + bulkSize).map((data): [Payload] => [data])
          await noop.delayMany(calls, { eta: new Date(dueAtMs) })
        }
      }
    },
    sendChain: (data) => chain(first.s(data), second.s(), last.s()).delay(),
    sendChord: (data, members) =>
      chord(
        Array.from({ length: members }, () => member.s()),
        last.si(data),
      ).delay(),
    waiting: async () => (await app.broker.depth(queue)).ready,

    async work(options, body): Promise<Working> {
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
        cpuUs: ownCpuUs,
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
      const inText = store.broker === 'redis' ? Math.ceil(body.length / 3) * 4 : body.length // as kombu writes it there
      return JSON.stringify(headers).length + JSON.stringify(properties).length + inText
    },
    close: () => app.close(),
  }
}

function byDueTime(payloads: readonly Payload[]): Map<number, Payload[]> {
  const groups = new Map<number, Payload[]>()
  for (const data of payloads) {
    const group = groups.get(data.at)
    if (group === undefined) groups.set(data.at, [data])
    else group.push(data)
  }
  return groups
}

/** The payload's index, from a protocol 2 body. */
function indexOf(body: string | Uint8Array): number {
  const [args] = JSON.parse(typeof body === 'string' ? body : Buffer.from(body).toString()) as [[Payload]]
  return (args[0] ?? payload(-1)).i
}
