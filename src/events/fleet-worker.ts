/** What is known of one worker: from what it says of itself, and from the events of the tasks it had. */
import type { ReceivedEvent } from './received-event.ts'
import { compareStamps, type Stamp, stampOf } from './stamp.ts'

/** A worker as a fleet tells of it. */
export interface FleetWorker {
  /** Node name. */
  readonly hostname: string
  readonly isAlive: boolean
  readonly pid: number | null
  /** Seconds between heartbeats. */
  readonly freq: number
  /** When it was heard last, by our time: epoch ms; null once it has gone. */
  readonly heardAt: number | null
  /** Tasks running, and tasks ended since it started, as its last heartbeat said. */
  readonly active: number | null
  readonly processed: number | null
  /** Over 1, 5 and 15 minutes. */
  readonly loadavg: readonly number[]
  /** Such as `celeriac 0.1.0`. */
  readonly software: string | null
  readonly system: string | null
  /** Events of tasks since we listen. */
  readonly counts: TaskCounts
}

export interface TaskCounts {
  readonly received: number
  readonly succeeded: number
  readonly failed: number
  readonly retried: number
  readonly revoked: number
}

export const noCounts: TaskCounts = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0 }

/** The counts with one more event of a task. */
export function counted(counts: TaskCounts, type: string): TaskCounts {
  const name = type.slice('task-'.length)
  return Object.hasOwn(counts, name) ? { ...counts, [name]: counts[name as keyof TaskCounts] + 1 } : counts
}

/** Of workers that do not say it: Celery's (`celery.events.state.Worker`). */
const defaultFreq = 60
/** So many heartbeats may be missed. */
const expireWindow = 2

export class FleetWorkerRecord {
  readonly #hostname: string
  #last: { readonly event: ReceivedEvent; readonly stamp: Stamp } | undefined
  #heardAtMs: number | null = null
  counts = noCounts

  constructor(hostname: string) {
    this.#hostname = hostname
  }

  /** When the worker counts as gone, epoch ms. */
  get #expiresAtMs(): number {
    return this.#heardAtMs === null ? Number.NEGATIVE_INFINITY : this.#heardAtMs + expireWindow * this.#freq * 1_000
  }

  get #freq(): number {
    const freq = this.#last?.event.freq
    return typeof freq === 'number' && freq > 0 ? freq : defaultFreq
  }

  /** Of `worker-online`, `worker-heartbeat` and `worker-offline`. What was sent before the last one changes nothing. */
  apply(event: ReceivedEvent, receivedAtMs: number): void {
    const stamp = stampOf(event, receivedAtMs)
    if (this.#last !== undefined && compareStamps(this.#last.stamp, stamp) >= 0) return
    this.#last = { event, stamp }
    this.#heardAtMs = event.type === 'worker-offline' ? null : receivedAtMs
  }

  view(nowMs: number): FleetWorker {
    const { pid, active, processed, loadavg, sw_ident, sw_ver, sw_sys } = this.#last?.event ?? { type: '' }
    const software = [sw_ident, sw_ver].filter((part) => typeof part === 'string')
    return {
      hostname: this.#hostname,
      isAlive: nowMs < this.#expiresAtMs,
      pid: pid ?? null,
      freq: this.#freq,
      heardAt: this.#heardAtMs,
      active: numberOf(active),
      processed: numberOf(processed),
      loadavg: Array.isArray(loadavg) ? loadavg.filter((load) => typeof load === 'number') : [],
      software: software.length === 0 ? null : software.join(' '),
      system: typeof sw_sys === 'string' ? sw_sys : null,
      counts: this.counts,
    }
  }
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' ? value : null
}
