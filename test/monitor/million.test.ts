/** A million tasks in the store: any search is answered at once. With `CELERIAC_TEST_LONG` only; filling takes minutes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from 'celeriac'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MonitorStore } from '../../src/monitor/store/store.ts'
import type { TaskFilter } from '../../src/monitor/store/task-query.ts'

const isLong = process.env.CELERIAC_TEST_LONG !== undefined
const total = 1_000_000
const atMostMs = 300
const folder = mkdtempSync(join(tmpdir(), 'celeriac-million-'))

const searches: Readonly<Record<string, TaskFilter>> = {
  'of everything': {},
  'of a state': { state: ['FAILURE'] },
  'of a rare state': { state: ['REVOKED'] },
  'of names by a pattern': { name: ['shop.*'], state: ['SUCCESS', 'FAILURE'] },
  'of a queue, a worker and a state that hardly meet': { queue: ['q1'], worker: ['w3@host'], state: ['REVOKED'] },
  'of a word that most have': { text: 'order' },
  'of a word that one has': { text: 'order-777777' },
  'of the beginnings of words in errors': { error: 'courier time' },
  'of a common word in a rare state': { text: 'order', state: ['REVOKED'] },
  'of two common words that never meet': { text: '"order quickly"' },
  'of a common word in a state that many have': { text: 'quickly', state: ['FAILURE'] },
  'of a common word in a common state': { text: 'order', state: ['SUCCESS'], name: ['mail.*'] },
  'of a word and the beginning of an id': { text: 'order', id: 'task-5000' },
  'of an id': { id: 'task-500000' },
  'of a time': { from: 1, to: 2 },
}

describe.runIf(isLong)('a search among a million tasks', () => {
  let store: MonitorStore

  beforeAll(() => {
    const limits = { maxTasks: 2 * total, maxAgeMs: 10 ** 12, maxBytes: 2 ** 40 }
    store = new MonitorStore({ path: join(folder, 'tasks.db'), clock: systemClock, ...limits })
    for (let from = 0; from < total; from += 500) {
      store.write(() => {
        for (let n = from; n < from + 500; n += 1) for (const event of eventsOf(n)) store.tasks.apply(event, n)
        store.tasks.write()
      })
    }
  }, 1_800_000)

  afterAll(() => {
    store?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it.each(Object.entries(searches))('%s', (_name, filter) => {
    const first = store.query.page(filter, 50)

    expect(timeOf(() => store.query.page(filter, 50))).toBeLessThan(atMostMs)
    expect(timeOf(() => store.query.page(filter, 50, first.next))).toBeLessThan(atMostMs)
  })

  it('is counted by state as fast', () => {
    const states = store.query.states()

    expect(timeOf(() => store.query.states())).toBeLessThan(atMostMs)
    expect(Object.values(states).reduce((sum, count) => sum + count, 0)).toBe(total)
  })
})

function timeOf(work: () => unknown): number {
  const beginMs = performance.now()
  work()
  return performance.now() - beginMs
}

/** What a worker says of a task, from when it came to its end. */
function eventsOf(n: number) {
  const name = n % 3 === 0 ? `shop.pick${n % 7}` : `mail.send${n % 5}`
  const base = { uuid: `task-${n}`, hostname: `w${n % 9}@host`, clock: n, timestamp: 1_700_000_000 + n / 100 }
  const args = `({'id': 'order-${n}', 'items': ['fig', 'pear${n % 100}']},)`
  const received = { ...base, type: 'task-received', name, args, kwargs: '{}', queue: `q${n % 4}` }
  if (n % 10_000 === 1) return [received, { ...base, type: 'task-revoked', clock: n + 1, terminated: false }]
  if (n % 20 !== 0)
    return [received, { ...base, type: 'task-succeeded', clock: n + 1, result: "'quickly'", runtime: 0.1 }]
  const exception = `CourierError('courier timed out after ${n % 60} s')`
  return [received, { ...base, type: 'task-failed', clock: n + 1, exception, traceback: '' }]
}
