/** What the monitor tells as it happens. One connection for all pages; it comes back by itself. */
import { signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { Job, LiveEvents, Overview, Queue, Worker } from '../../src/monitor/api-types.ts'
import { call } from './api.ts'

export const connection = signal<'connecting' | 'open' | 'lost'>('connecting')
export const overview = signal<Overview | undefined>(undefined)
export const queues = signal<readonly Queue[] | undefined>(undefined)
export const workers = signal<readonly Worker[] | undefined>(undefined)
export const jobs = signal<ReadonlyMap<string, Job>>(new Map())
/** Grows whenever tasks have changed, a few times a second at most. */
export const taskChanges = signal(0)
export const alertChanges = signal(0)

let source: EventSource | undefined

export function listen(): void {
  if (source !== undefined) return
  source = new EventSource('/api/v1/live')
  source.onopen = () => {
    connection.value = 'open'
    void readAll().catch(() => undefined)
  }
  source.onerror = () => {
    connection.value = 'lost'
    // Refused, such as after a session's end: the browser does not try again by itself.
    if (source?.readyState !== EventSource.CLOSED) return
    source = undefined
    setTimeout(listen, 5_000)
  }
  on('overview', (data) => {
    overview.value = data
  })
  on('queues', (data) => {
    queues.value = data
  })
  on('workers', (data) => {
    workers.value = data
  })
  on('tasks', () => {
    taskChanges.value += 1
  })
  on('missed', () => {
    taskChanges.value += 1
  })
  on('alert', () => {
    alertChanges.value += 1
  })
  on('job', (job) => {
    jobs.value = new Map(jobs.value).set(job.id, job)
  })
}

/** What was not told while nobody listened. */
async function readAll(): Promise<void> {
  const [all, known, seen] = await Promise.all([
    call<Overview>('GET', '/overview'),
    call<readonly Queue[]>('GET', '/queues'),
    call<readonly Worker[]>('GET', '/workers'),
  ])
  overview.value = all
  queues.value = known
  workers.value = seen
  taskChanges.value += 1
}

export function hangUp(): void {
  source?.close()
  source = undefined
}

function on<Name extends keyof LiveEvents>(name: Name, take: (data: LiveEvents[Name]) => void): void {
  source?.addEventListener(name, (event) => take(JSON.parse((event as MessageEvent<string>).data) as LiveEvents[Name]))
}

/** Asks again after changes, once a second at most, and not while nobody looks. */
export function useChanges(changes: { readonly value: number }, isOn: boolean, reload: () => void): void {
  useEffect(() => {
    if (!isOn) return
    let seen = changes.value
    const timer = setInterval(() => {
      if (changes.value === seen || document.hidden) return
      seen = changes.value
      reload()
    }, 1_000)
    return () => clearInterval(timer)
  }, [isOn, reload])
}
