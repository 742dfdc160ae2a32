/**
 * The counter: why slow work belongs behind a queue. `npm run counter`
 *
 * A crowd of requests arrives at once, and each adds one to the same row of a database, in a transaction that has a
 * little more to do than that. The row can be had by one at a time, so the work of the crowd takes seconds, whatever
 * we do. What we can choose is who waits for it:
 *
 * - directly: the customers do. Most of them lose patience, and what they asked for does not happen;
 * - by a task: nobody does. Each request is answered as soon as its task is on disk, and a worker takes its time.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { serve } from '@hono/node-server'
import { type AsyncResult, Celeriac } from 'celeriac'
import { Hono } from 'hono'
import { CounterDatabase } from './database.ts'

const crowd = 200
const transactionMs = 20
/** How long a customer waits for an answer, and how long a request waits for the row. */
const patienceMs = 2_000

const folder = mkdtempSync(join(tmpdir(), 'celeriac-counter-'))
const database = new CounterDatabase(join(folder, 'counter.db'), transactionMs)

// The task, and a worker for it. Usually that is a process of its own: `celeriac worker -A app.ts`.
// Were it killed just after a transaction, it would run that task again and count twice. The warehouse, beside this
// example, shows how a task finds out that its work was done.
const app = new Celeriac('counter', { broker: `sqlite://${join(folder, 'broker.db')}`, results: true })
const increment = app.task('counter.increment', {}, (name: string) => database.increment(name, Infinity))
const worker = await app.worker({ concurrency: 1 })

// The web server: one page does the work, the other sends a task that does the same work.
const sent: AsyncResult<void>[] = []
const web = new Hono()
web.post('/directly', async (c) => {
  await database.increment('directly', patienceMs)
  return c.text('counted', 200)
})
web.post('/by-task', async (c) => {
  sent.push(await increment.delay('by a task'))
  return c.text('accepted', 202)
})
web.onError((error, c) => c.text(error.message, 503))
const server = serve({ fetch: web.fetch, port: 0, hostname: '127.0.0.1' })
await once(server, 'listening')

console.log(
  `${crowd} requests at once, each a transaction of ${transactionMs} ms on one row; patience ${patienceMs} ms\n`,
)
console.log('             answered   gave up   counted       p50       p99')

const directly = await sendCrowd('/directly')
print('directly', directly, database.value('directly'))

const startedAt = performance.now()
const byTask = await sendCrowd('/by-task')
const countedBefore = database.value('by a task')
await Promise.all(sent.map((result) => result.get({ timeout: '1m' })))
print('by a task', byTask, database.value('by a task'))
console.log(`\nWhen the last of the crowd was answered, ${countedBefore} of the tasks were done;`)
console.log(`the worker had counted all of them after ${((performance.now() - startedAt) / 1_000).toFixed(1)} s.`)

server.close()
await worker.stop()
await app.close()
database.close()
rmSync(folder, { recursive: true })

interface Answers {
  readonly answered: number
  readonly gaveUp: number
  /** What each customer waited, sorted. */
  readonly waitsMs: readonly number[]
}

async function sendCrowd(path: string): Promise<Answers> {
  const { port } = server.address() as AddressInfo
  const customers = Array.from({ length: crowd }, async () => {
    const startedAt = performance.now()
    const signal = AbortSignal.timeout(patienceMs)
    const answered = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', signal }).then(
      (response) => response.ok,
      () => false,
    )
    return { answered, waitMs: performance.now() - startedAt }
  })
  const outcomes = await Promise.all(customers)
  await sleep(transactionMs * 3) // a transaction may still be on its way for somebody who has left
  const answered = outcomes.filter((outcome) => outcome.answered).length
  return { answered, gaveUp: crowd - answered, waitsMs: outcomes.map(({ waitMs }) => waitMs).sort((a, b) => a - b) }
}

function print(name: string, { answered, gaveUp, waitsMs }: Answers, counted: number): void {
  const percentile = (share: number): string => `${Math.round(waitsMs[Math.ceil(share * crowd) - 1] ?? 0)} ms`
  const cells = [answered, gaveUp, counted, percentile(0.5), percentile(0.99)]
  console.log(`${name.padEnd(11)}${cells.map((cell) => String(cell).padStart(10)).join('')}`)
}
