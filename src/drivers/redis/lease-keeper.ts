/** The main thread's side of the leases: tells the lease thread which ones to renew. One thread for each broker. */
import type { Worker } from 'node:worker_threads'
import { startThread } from '../../thread.ts'
import type { RedisClient } from './client.ts'
import type { LeaseNews, LeaseOrder, LeaseThreadData } from './lease-thread.ts'

const restartDelayMs = 500

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'

export class LeaseKeeper {
  readonly #client: RedisClient
  readonly #held = new Map<string, number>()
  readonly #answered = new Map<string, (isAnswering: boolean) => void>()
  #thread: Worker | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(client: RedisClient) {
    this.#client = client
  }

  /** Starts the thread ahead of the first lease; resolves once it renews. */
  start(): Promise<void> {
    this.#thread ??= this.#startThread()
    return this.#running
  }

  hold(consumer: string, leaseMs: number): void {
    this.#held.set(consumer, leaseMs)
    this.#order({ hold: consumer, leaseMs })
  }

  /** Has the thread answer pings for a node. @returns stops it */
  answerPings(node: string, onChange: (isAnswering: boolean) => void): () => void {
    this.#answered.set(node, onChange)
    this.#order({ answerPings: node })
    return () => {
      if (this.#answered.delete(node)) this.#order({ endPings: node })
    }
  }

  drop(consumer: string): void {
    if (this.#held.delete(consumer)) this.#order({ drop: consumer })
  }

  async close(): Promise<void> {
    const thread = this.#thread
    this.#thread = undefined
    if (thread === undefined) return
    // Referenced again: the process must not end in the middle of this wait.
    thread.ref()
    thread.postMessage({ close: true } satisfies LeaseOrder)
    await new Promise((resolve) => thread.once('exit', resolve))
  }

  #order(order: LeaseOrder): void {
    if ('endPings' in order && this.#thread === undefined) return
    this.#thread ??= this.#startThread()
    this.#thread.postMessage(order)
  }

  #startThread(): Worker {
    const { settings, url } = this.#client
    const data: LeaseThreadData = { settings, url }
    const thread = startThread(new URL(`./lease-thread.${extension}`, import.meta.url), data)
    thread.once('error', () => this.#replace(thread))
    thread.on('message', (news: LeaseNews) => {
      if (news !== 'running') this.#answered.get(news.answering)?.(true)
    })
    this.#running = new Promise((resolve) => {
      thread.once('message', () => {
        // From now on it keeps no process alive; before, its start must not be cut off. Nor must its end be.
        if (this.#thread === thread) thread.unref()
        resolve()
      })
      thread.once('exit', () => resolve())
    })
    return thread
  }

  /** Leases outlive a thread that dies by most of their length: there is time to start another and go on. */
  #replace(dead: Worker): void {
    if (this.#thread !== dead) return
    this.#thread = undefined
    for (const onChange of this.#answered.values()) onChange(false)
    this.#client.clock.after(restartDelayMs, () => {
      for (const node of this.#answered.keys()) this.#order({ answerPings: node })
      for (const [consumer, leaseMs] of this.#held) this.#order({ hold: consumer, leaseMs })
    })
  }
}
