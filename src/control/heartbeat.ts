/** Tells the fleet that a worker is there: when it comes, every two seconds, and when it goes. */
import { loadavg, type } from 'node:os'
import type { EventDispatcher } from '../events/dispatcher.ts'
import type { WorkerStatus } from '../events/event.ts'
import { packageVersion } from '../version.ts'
import type { Worker } from '../work/worker.ts'

/** Celery's pace. In seconds. */
const everyS = 2

export class Heartbeat {
  readonly #worker: Worker
  readonly #events: EventDispatcher
  readonly #version = packageVersion()
  #timer: NodeJS.Timeout | undefined

  constructor(worker: Worker, events: EventDispatcher) {
    this.#worker = worker
    this.#events = events
  }

  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.beat(), everyS * 1_000)
    this.#timer.unref()
    await this.#events.send('worker-online', this.#status())
  }

  async beat(): Promise<void> {
    await this.#events.send('worker-heartbeat', this.#status())
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#events.send('worker-offline', this.#status())
  }

  #status(): WorkerStatus {
    const { running: active, processed } = this.#worker.health()
    const averages = loadavg().map((value) => Math.round(value * 100) / 100)
    return {
      freq: everyS,
      active,
      processed,
      loadavg: averages,
      sw_ident: 'celeriac',
      sw_ver: this.#version,
      sw_sys: type(),
    }
  }
}
