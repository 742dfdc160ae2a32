/**
 * BullMQ on Redis at its best settings: `removeOnComplete`, `addBulk`, one worker process. Only the calls used here are
 * typed, so that the benchmark type-checks without the peers installed.
 */
import { nativeImport } from '../harness/native-import.ts'
import type { Payload } from '../harness/payload.ts'
import { until } from '../harness/time.ts'
import { eachWith, ownCpuUs, type Session, type Store, type Working } from './side.ts'

interface Job {
  readonly name: string
  readonly data: Payload
}

interface BulkJob {
  readonly name: string
  readonly data: Payload
  readonly opts: object
}

interface BullMq {
  readonly Queue: new (
    name: string,
    options: object,
  ) => {
    waitUntilReady(): Promise<unknown>
    add(name: string, data: Payload, options: object): Promise<unknown>
    addBulk(jobs: readonly BulkJob[]): Promise<unknown>
    getWaitingCount(): Promise<number>
    close(): Promise<void>
  }
  readonly Worker: new (
    name: string,
    processor: (job: Job) => Promise<unknown>,
    options: object,
  ) => {
    waitUntilReady(): Promise<unknown>
    run(): Promise<unknown>
    on(event: string, listener: (job: Job) => void): unknown
    close(): Promise<void>
  }
  readonly FlowProducer: new (
    options: object,
  ) => {
    waitUntilReady(): Promise<unknown>
    add(flow: object): Promise<unknown>
    close(): Promise<void>
  }
}

const queueName = 'bench'
/** Jobs per `addBulk`: one Redis transaction each. Larger ones were not faster, and hold up Redis. */
const bulkSize = 500

export async function openBullMq({ url, resultsUrl }: Store): Promise<Session> {
  const { Queue, Worker, FlowProducer } = (await nativeImport('bullmq')) as BullMq
  const connection = { host: '127.0.0.1', port: Number(new URL(url).port), maxRetriesPerRequest: null }
  const queue = new Queue(queueName, { connection })
  const flows = new FlowProducer({ connection })
  await Promise.all([queue.waitUntilReady(), flows.waitUntilReady()])

  // A job that is kept has its return value with it.
  const kept = { removeOnComplete: resultsUrl === undefined, removeOnFail: false }
  const addAll = async (payloads: readonly Payload[], optionsOf: (data: Payload) => object): Promise<void> => {
    for (let from = 0; from < payloads.length; from += bulkSize) {
      const chunk = payloads.slice(from, from + bulkSize)
      await queue.addBulk(chunk.map((data) => ({ name: 'noop', data, opts: { ...kept, ...optionsOf(data) } })))
    }
  }
  const send = (payload: Payload): Promise<unknown> => queue.add('noop', payload, kept)

  return {
    send,
    sendEach: eachWith(send),
    sendMany: (payloads) => addAll(payloads, () => ({})),
    sendDelayed: (payloads) => addAll(payloads, ({ at }) => ({ delay: at - Date.now() })),
    // A flow: the parent runs when its child is done, so the last step is the outermost.
    sendChain: (data) => {
      const step = (name: string, children: object[]) => ({ name, queueName, data, opts: kept, children })
      return flows.add(step('last', [step('second', [step('first', [])])]))
    },
    sendChord: (data, members) => {
      const member = { name: 'member', queueName, data, opts: kept }
      return flows.add({
        name: 'last',
        queueName,
        data,
        opts: kept,
        children: Array.from({ length: members }, () => member),
      })
    },
    waiting: () => queue.getWaitingCount(),

    async work({ concurrency, began = () => {} }, handle): Promise<Working> {
      let completed = 0
      const process = async ({ name, data }: Job): Promise<unknown> => {
        if (name === 'noop' || name === 'first') began()
        if (name === 'noop' || name === 'last') handle(data)
        return data.i
      }
      const worker = new Worker(queueName, process, { connection, concurrency, autorun: false })
      await worker.waitUntilReady()
      // 'completed' is emitted once Redis has confirmed that the job is finished.
      worker.on('completed', ({ name }) => {
        if (name === 'noop' || name === 'last') completed += 1
      })
      void worker.run()
      return {
        settled: (count) => until(() => completed >= count, 1, 600_000),
        cpuUs: ownCpuUs,
        stop: () => worker.close(),
      }
    },

    claimer: undefined,
    messageBytes: async () => 0,
    async close() {
      await flows.close()
      await queue.close()
    },
  }
}
