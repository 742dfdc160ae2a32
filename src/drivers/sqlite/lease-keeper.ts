/** The main thread's side of the leases: tells the lease thread which ones to renew. One thread for each store. */
import type { Worker } from 'node:worker_threads'
import { startThread } from '../../thread.ts'
import type { LeaseOrder, LeaseThreadData } from './lease-thread.ts'
import type { SqliteStore } from './store.ts'
import { Turnstile } from './turnstile.ts'

/** Long enough not to spin when the file itself is out of reach. */
const restartDelayMs = 500

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'

export class LeaseKeeper {
  readonly #store: SqliteStore
  readonly #turnstile = new Turnstile()
  readonly #held = new Map<number, number>()
  #thread: Worker | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(store: SqliteStore) {
    this.#store = store
  }

  /** Starts the thread ahead of the first lease; resolves once it runs. */
  start(): Promise<void> {
    this.#thread ??= this.#startThread()
    return this.#running
  }

  hold(lease: number, leaseMs: number): void {
    this.#held.set(lease, leaseMs)
    this.#order({ hold: lease, leaseMs })
  }

  drop(lease: number): void {
    if (!this.#held.delete(lease)) return
    this.#order({ drop: lease })
  }

  async close(): Promise<void> {
    const thread = this.#thread
    this.#thread = undefined
    if (thread === undefined) return
    // Referenced again: the process must not end in the middle of this wait.
    thread.ref()
    thread.postMessage({ close: true } satisfies LeaseOrder)
    await new Promise((resolve) => thread.once('exit', resolve))
    process.off('exit', this.#turnstile.lock)
  }

  #order(order: LeaseOrder): void {
    this.#thread ??= this.#startThread()
    this.#thread.postMessage(order)
  }

  #startThread(): Worker {
    const { path, durability } = this.#store
    const data: LeaseThreadData = { path, durability, turnstile: this.#turnstile.state }
    process.on('exit', this.#turnstile.lock)
    const thread = startThread(new URL(`./lease-thread.${extension}`, import.meta.url), data)
    thread.once('error', () => this.#replace(thread))
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
    this.#store.clock.after(restartDelayMs, () => {
      for (const [lease, leaseMs] of this.#held) this.#order({ hold: lease, leaseMs })
    })
  }
}
