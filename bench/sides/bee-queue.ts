/**
 * bee-queue on Redis at its best settings: `removeOnSuccess`, no events, jobs not kept in memory, bulk by `saveAll`. It
 * has no chains. Only the calls used here are typed, so that the benchmark type-checks without the peers installed.
 */
import { nativeImport } from '../harness/native-import.ts'
import type { Payload } from '../harness/payload.ts'
import { until } from '../harness/time.ts'
import { eachWith, ownCpuUs, type Session, type Store, type Working } from './side.ts'

interface Job {
  readonly data: Payload
  delayUntil(epochMs: number): Job
  save(): Promise<unknown>
}

interface Queue {
  ready(): Promise<unknown>
  createJob(data: Payload): Job
  /** Resolves to what went wrong with which job. */
  saveAll(jobs: readonly Job[]): Promise<Map<Job, Error>>
  process(concurrency: number, handler: (job: Job) => Promise<unknown>): void
  on(event: string, listener: (...args: unknown[]) => void): unknown
  checkHealth(): Promise<{ readonly waiting: number }>
  close(timeoutMs: number): Promise<void>
}

interface BeeQueue {
  readonly default: new (name: string, options: object) => Queue
}

const queueName = 'bench'
/** Jobs per `saveAll`: one pipeline each. */
const bulkSize = 1_000

export async function openBeeQueue({ url, resultsUrl }: Store): Promise<Session> {
  const { default: BeeQueue } = (await nativeImport('bee-queue')) as BeeQueue
  const keepsResults = resultsUrl !== undefined
  const common = {
    redis: { host: '127.0.0.1', port: Number(new URL(url).port) },
    getEvents: false,
    storeJobs: false,
    // A job's value is told by its event, and the job itself stays.
    sendEvents: keepsResults,
    removeOnSuccess: !keepsResults,
  }
  const queue = new BeeQueue(queueName, { ...common, isWorker: false })
  await queue.ready()

  const saveAll = async (payloads: readonly Payload[], toJob: (data: Payload) => Job): Promise<void> => {
    for (let from = 0; from < payloads.length; from += bulkSize) {
      const failed = await queue.saveAll(payloads.slice(from, from + bulkSize).map(toJob))
      for (const error of failed.values()) throw error
    }
  }
  const send = (data: Payload): Promise<unknown> => queue.createJob(data).save()

  return {
    send,
    sendEach: eachWith(send),
    sendMany: (payloads) => saveAll(payloads, (data) => queue.createJob(data)),
    sendDelayed: (payloads) => saveAll(payloads, (data) => queue.createJob(data).delayUntil(data.at)),
    sendChain: () => Promise.reject(new Error('bee-queue has no chains')),
    sendChord: () => Promise.reject(new Error('bee-queue has no chords')),
    waiting: async () => (await queue.checkHealth()).waiting,

    async work({ concurrency, began = () => {} }, handle): Promise<Working> {
      let succeeded = 0
      const workers = new BeeQueue(queueName, { ...common, isWorker: true, activateDelayedJobs: true })
      await workers.ready()
      // 'succeeded' is emitted once Redis has confirmed that the job is finished.
      workers.on('succeeded', () => {
        succeeded += 1
      })
      workers.process(concurrency, async ({ data }) => {
        began()
        handle(data)
        return data.i
      })
      return {
        settled: (count) => until(() => succeeded >= count, 1, 600_000),
        cpuUs: ownCpuUs,
        stop: () => workers.close(1_000),
      }
    },

    claimer: undefined,
    messageBytes: async () => 0,
    close: () => queue.close(1_000),
  }
}
