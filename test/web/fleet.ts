/** A fleet with something of everything: chains, failures, dead letters, a schedule, a queue that waits. */
import { type Celeriac, chain, every, type WorkerOptions } from 'celeriac'
import type { MonitorOptions } from '../../src/monitor/monitor.ts'
import { newApp, until } from '../flow/fixture.ts'
import { monitoring } from '../monitor/fixture.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

export async function startFleet(broker: string, options: Partial<MonitorOptions> = {}) {
  const app = newApp({ broker, defaultQueue: 'shop', results: !broker.startsWith('amqp') })
  const pick = app.task('pick', async (order: string) => order)
  const pack = app.task('pack', async (order: string) => {
    await pause(20)
    return { order, boxes: 2 }
  })
  const ship = app.task('ship', { maxRetries: 0 }, (parcel: { order: string }) => {
    if (parcel.order.endsWith('7')) throw new RangeError(`no way to ${parcel.order}`)
    return `${parcel.order} is on its way`
  })
  const ran: string[] = []
  const late = app.task('late', { queue: 'later' }, (what: string) => {
    ran.push(what)
  })
  app.task('hold', { bind: true, maxRetries: 0 }, (ctx, _what: string) => {
    return new Promise((_resolve, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason)))
  })
  app.beat({ stocktaking: { task: 'late', schedule: every('1h'), args: ['stock'] } })
  const { monitor, url, get, post } = await monitoring(broker, { app, ...options })
  const worker = await app.worker({ queues: ['shop'], concurrency: 4, taskEvents: true })
  await app.startBeat()
  await Promise.all(Array.from({ length: 10 }, (_, i) => chain(pick.s(`order-${i}`), pack.s(), ship.s()).delay()))
  await late.delay('first')
  await late.delay('second')
  return { app, monitor, url, get, post, worker, late, ran }
}

/** Begins to take what waits in `later`. */
export function startLate(app: Celeriac, options: WorkerOptions = {}) {
  return app.worker({ queues: ['later'], taskEvents: true, ...options })
}

export type Fleet = Awaited<ReturnType<typeof startFleet>>

/** Once the monitor knows of all that the fleet did at its start. */
export async function settled({ get }: Fleet): Promise<{ failed: string; letters: string }> {
  await until(async () => (await get('/tasks?name=ship&state=SUCCESS')).tasks.length === 9)
  await until(async () => (await get('/dead-letters/groups')).length === 1)
  await until(async () => (await get('/workers'))[0]?.stats !== null && (await get('/schedules')).length === 1)
  const [task] = (await get('/tasks?name=ship&state=FAILURE')).tasks
  return { failed: task.id, letters: (await get('/dead-letters/groups'))[0].fingerprint }
}
