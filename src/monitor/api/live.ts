/**
 * Tells those who listen what happens, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 *
 * What changes is gathered for a moment and written once for all of them. A reader who is slower than the fleet misses
 * news and is told so; nothing is kept for him beyond a bounded buffer.
 */
import type { Clock, Timer } from '../../clock.ts'
import type { LiveEvents, Overview, Queue, TaskSummary, Worker } from '../api-types.ts'
import type { Collector } from '../collect/collector.ts'
import { taskSummary } from './views.ts'

const gatherMs = 250
/** Tasks, queues or workers in one event. */
const mostAtOnce = 200
/** So long nothing is said at most: proxies close lines that are silent, and who may listen is looked at again. */
const heartbeatMs = 15_000
const maxListeners = 100
const bufferedBytes = 512 * 1024

export interface LiveSources {
  readonly collector: Collector
  readonly overview: () => Overview
  readonly queues: () => readonly Queue[]
  readonly workers: () => readonly Worker[]
}

export class Live {
  readonly #clock: Clock
  readonly #listeners = new Set<Listener>()
  /** The last that is known of each, by id. */
  readonly #tasks = new Map<string, TaskSummary>()
  readonly #jobs = new Map<string, LiveEvents['job']>()
  #missed = 0
  #looked = { queues: false, workers: false }
  #sources: LiveSources | undefined
  #unlisten: () => void = () => undefined
  #gathering: Timer | undefined
  #heartbeat: Timer | undefined
  #isStopped = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get listeners(): number {
    return this.#listeners.size
  }

  /** Tells of what the collector finds, from here on. */
  start(sources: LiveSources): void {
    this.#sources = sources
    this.#unlisten = sources.collector.listen(({ tasks, event, looked }) => {
      if (this.#listeners.size === 0) return
      for (const task of tasks ?? []) this.#keep(taskSummary(task))
      if (looked !== undefined) this.#looked[looked] = true
      if (event?.type === 'worker-online' || event?.type === 'worker-offline') this.#looked.workers = true
      this.#gather()
    })
    this.#beat()
  }

  /** Ends every stream. */
  stop(): void {
    this.#isStopped = true
    this.#unlisten()
    this.#gathering?.cancel()
    this.#heartbeat?.cancel()
    for (const listener of this.#listeners) listener.end()
    this.#listeners.clear()
  }

  /**
   * A stream of events, from here on.
   * @param isWelcome asked from time to time; the stream ends when it is false
   * @returns undefined where too many listen already
   */
  open(isWelcome: () => Promise<boolean>): ReadableStream<Uint8Array> | undefined {
    if (this.#isStopped || this.#listeners.size >= maxListeners) return undefined
    const listener = new Listener(isWelcome, () => this.#listeners.delete(listener))
    this.#listeners.add(listener)
    listener.send(encoded('retry: 2000\n\n'), 0)
    return listener.stream
  }

  /** At once. */
  tell<Event extends keyof LiveEvents>(event: Event, data: LiveEvents[Event]): void {
    this.#send(event, data, 1)
  }

  /** With what else has changed: a job goes through many tasks in a moment. */
  tellJob(job: LiveEvents['job']): void {
    if (this.#listeners.size === 0) return
    this.#jobs.set(job.id, job)
    this.#gather()
  }

  #keep(task: TaskSummary): void {
    if (this.#tasks.size >= mostAtOnce && !this.#tasks.has(task.id)) this.#missed += 1
    else this.#tasks.set(task.id, task)
  }

  #gather(): void {
    if (!this.#isStopped) this.#gathering ??= this.#clock.after(gatherMs, () => this.#tellGathered())
  }

  #tellGathered(): void {
    this.#gathering = undefined
    const { queues, workers } = this.#looked
    this.#looked = { queues: false, workers: false }
    if (this.#sources === undefined) return
    if (this.#tasks.size > 0) this.#send('tasks', [...this.#tasks.values()], this.#tasks.size)
    this.#tasks.clear()
    for (const job of this.#jobs.values()) this.#send('job', job, 1)
    this.#jobs.clear()
    if (queues) this.#sendList('queues', this.#sources.queues())
    if (workers) this.#sendList('workers', this.#sources.workers())
    if (queues || workers) this.#send('overview', this.#sources.overview(), 1)
    if (this.#missed > 0) this.#send('missed', { count: this.#missed }, this.#missed)
    this.#missed = 0
  }

  #sendList(event: 'queues' | 'workers', list: readonly Queue[] | readonly Worker[]): void {
    this.#missed += Math.max(0, list.length - mostAtOnce)
    this.#send(event, list.slice(0, mostAtOnce) as never, list.length)
  }

  #send<Event extends keyof LiveEvents>(event: Event, data: LiveEvents[Event], count: number): void {
    if (this.#listeners.size === 0) return
    const bytes = encoded(written(event, data))
    for (const listener of this.#listeners) listener.send(bytes, count)
  }

  #beat(): void {
    if (this.#isStopped) return
    this.#heartbeat = this.#clock.after(heartbeatMs, () => {
      const bytes = encoded(': still here\n\n')
      for (const listener of this.#listeners) {
        listener.send(bytes, 0)
        void listener.checkWelcome()
      }
      this.#beat()
    })
  }
}

class Listener {
  readonly stream: ReadableStream<Uint8Array>
  readonly #isWelcome: () => Promise<boolean>
  readonly #onEnd: () => void
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  /** News that there was no room for. */
  #missed = 0

  constructor(isWelcome: () => Promise<boolean>, onEnd: () => void) {
    this.#isWelcome = isWelcome
    this.#onEnd = onEnd
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        cancel: () => this.#ended(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: bufferedBytes }),
    )
  }

  /** @param count how many news it is */
  send(bytes: Uint8Array, count: number): void {
    const room = this.#controller?.desiredSize ?? 0
    if (room < bytes.byteLength) {
      this.#missed += count
      return
    }
    if (this.#missed > 0) this.#controller?.enqueue(encoded(written('missed', { count: this.#missed })))
    this.#missed = 0
    this.#controller?.enqueue(bytes)
  }

  async checkWelcome(): Promise<void> {
    if (!(await this.#isWelcome().catch(() => false))) this.end()
  }

  end(): void {
    this.#controller?.close()
    this.#ended()
  }

  #ended(): void {
    this.#controller = undefined
    this.#onEnd()
  }
}

function written<Event extends keyof LiveEvents>(event: Event, data: LiveEvents[Event]): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}

const encoder = new TextEncoder()
function encoded(text: string): Uint8Array {
  return encoder.encode(text)
}
