/**
 * celery-node on Redis or RabbitMQ, in its favour: nothing is logged, no results are stored unless they are measured,
 * Nagle's algorithm is off. It acknowledges before it runs a task, bounds neither what it fetches nor what it runs, has
 * no delays and no chains, and publishes without confirms. Only the calls used here are typed.
 */
import { randomUUID } from 'node:crypto'
import { nativeImport } from '../harness/native-import.ts'
import type { Payload } from '../harness/payload.ts'
import { until } from '../harness/time.ts'
import { eachWith, ownCpuUs, type Session, type Store, type Working } from './side.ts'

interface Broker {
  publish(body: unknown, exchange: string, queue: string, headers: object, properties: object): Promise<unknown>
  /** ioredis, where the broker is Redis. */
  readonly redis?: { llen(key: string): Promise<number>; disconnect(): void }
  /** amqplib, where it is RabbitMQ. */
  readonly channel?: Promise<{ checkQueue(queue: string): Promise<{ readonly messageCount: number }> }>
  readonly connect?: Promise<{ close(): Promise<void> }>
}

interface Backend {
  isReady(): Promise<unknown>
  storeResult(taskId: string, result: unknown, state: string): Promise<unknown>
  readonly redis?: { disconnect(): void }
}

/** Client and worker are the same below. */
interface Base {
  readonly conf: { CELERY_BROKER_OPTIONS: object }
  readonly broker: Broker
  readonly backend: Backend
  /** What `backend` answers, once it is set. */
  _backend?: Backend
  isReady(): Promise<unknown>
}

interface Client extends Base {
  createTaskMessage(
    taskId: string,
    task: string,
    args: readonly unknown[],
    kwargs: object,
  ): { readonly headers: object; readonly properties: object; readonly body: unknown }
}

interface Worker extends Base {
  register(task: string, handler: (data: Payload) => unknown): void
  start(): Promise<unknown>
}

interface CeleryNode {
  createClient(broker: string, backend: string, queue: string): Client
  createWorker(broker: string, backend: string, queue: string): Worker
}

const queue = 'bench'
const task = 'bench.noop'
const noBackend: Backend = { isReady: async () => {}, storeResult: async () => {} }

export async function openCeleryNode({ broker, url, resultsUrl }: Store): Promise<Session> {
  const { createClient, createWorker } = (await nativeImport('celery-node')) as CeleryNode
  const prepared = async <B extends Base>(base: B): Promise<B> => {
    if (broker === 'amqp') base.conf.CELERY_BROKER_OPTIONS = { noDelay: true }
    if (resultsUrl === undefined) base._backend = noBackend
    await base.isReady()
    return base
  }
  const client = await prepared(createClient(url, resultsUrl ?? url, queue))
  const end = async (base: Base): Promise<void> => {
    base.backend.redis?.disconnect()
    base.broker.redis?.disconnect()
    await (await base.broker.connect)?.close()
  }

  // Its documented call tells nobody when the broker has the message; this is what that call does.
  const send = (data: Payload): Promise<unknown> => {
    const { headers, properties, body } = client.createTaskMessage(randomUUID(), task, [data], {})
    return client.broker.publish(body, '', queue, headers, properties)
  }

  return {
    send,
    sendEach: eachWith(send),
    sendMany: (payloads) => Promise.all(payloads.map(send)),
    sendDelayed: () => Promise.reject(new Error('celery-node has no delays')),
    sendChain: () => Promise.reject(new Error('celery-node has no chains')),
    sendChord: () => Promise.reject(new Error('celery-node has no chords')),
    async waiting() {
      if (client.broker.redis !== undefined) return await client.broker.redis.llen(queue)
      const channel = await client.broker.channel
      return (await channel?.checkQueue(queue))?.messageCount ?? 0
    },

    async work({ began = () => {} }, handle): Promise<Working> {
      // Two lines for every task otherwise; and its receiving loop logs its own end.
      for (const method of ['info', 'log'] as const) console[method] = () => {}
      let ran = 0
      const worker = await prepared(createWorker(url, resultsUrl ?? url, queue))
      worker.register(task, (data) => {
        began()
        handle(data)
        ran += 1
        return data.i
      })
      void worker.start()
      return {
        // What it has run was acknowledged before.
        settled: (count) => until(() => ran >= count, 1, 600_000),
        cpuUs: ownCpuUs,
        stop: () => end(worker),
      }
    },

    claimer: undefined,
    messageBytes: async () => 0,
    close: () => end(client),
  }
}
