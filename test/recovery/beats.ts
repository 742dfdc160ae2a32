import { Celeriac, every } from 'celeriac'
import { expect, onTestFinished } from 'vitest'
import { firingId } from '../../src/beat/entry.ts'
import { recoveredWithinMs, silent } from './shop.ts'

const awayMs = process.env.CELERIAC_TEST_LONG === undefined ? 4_000 : 30_000
const scope = 'outage'
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

interface Server {
  readonly url: string
  stop(): Promise<void>
  restart(): Promise<void>
}

/** How long `expectBeatsToCatchUp` may take, in ms. */
export const catchingUpMs = awayMs + 150_000

/** Two beats send to a server that is away for a while: every time is caught up with by "all", the last by "one". */
export async function expectBeatsToCatchUp(server: Server): Promise<void> {
  const startMs = Math.ceil(Date.now() / 1_000 + 3) * 1_000
  const common = { schedule: every('1s'), start: new Date(startMs), options: { queue: 'ticks' } }
  const entries = {
    all: { ...common, task: 'tick', catchUp: 'all' },
    one: { ...common, task: 'tick', catchUp: 'one' },
  } as const
  const apps = [0, 1].map(() => new Celeriac(scope, { broker: server.url, logger: silent }))
  onTestFinished(async () => void (await Promise.all(apps.map((app) => app.close()))))
  for (const app of apps) app.beat(entries)
  const beats = await Promise.all(apps.map((app) => app.startBeat()))
  const [{ schedules, broker }] = apps as [Celeriac]
  const isSentUpTo = (atMs: number) => async (): Promise<boolean> =>
    (await schedules.list()).every(({ lastDueAt }) => (lastDueAt?.getTime() ?? 0) > atMs)
  const patience = { timeout: recoveredWithinMs, interval: 50 }
  await expect.poll(isSentUpTo(startMs + 2_000), patience).toBe(true)

  const downMs = Date.now()
  await server.stop()
  await pause(awayMs)
  const upMs = Date.now()
  await server.restart()
  await expect.poll(isSentUpTo(upMs + 2_000), patience).toBe(true)
  await Promise.all(beats.map((beat) => beat.stop()))

  const infos = await schedules.list()
  const consumer = await broker.consume(['ticks'])
  const sent: string[] = []
  for (;;) {
    const deliveries = await consumer.fetch(1_000, { waitMs: 500 })
    if (deliveries.length === 0) break
    sent.push(...deliveries.map(({ message }) => String(message.headers.id)))
    await Promise.all(deliveries.map((delivery) => delivery.ack()))
  }
  const dueOf = (name: string): number[] => {
    const last = infos.find((info) => info.name === name)?.lastDueAt?.getTime() ?? 0
    const times: number[] = []
    for (let ms = startMs; ms <= last; ms += 1_000) times.push(ms)
    return times
  }
  const sentOf = (name: string): number[] => dueOf(name).filter((ms) => sent.includes(firingId(scope, name, 0, ms)))
  expect(new Set(sent).size).toBe(sent.length)
  expect(sentOf('all')).toEqual(dueOf('all'))
  const whileAway = sentOf('one').filter((ms) => ms > downMs + 1_000 && ms < upMs)
  expect(whileAway.length).toBeLessThanOrEqual(1)
  expect(sentOf('all').length + sentOf('one').length).toBe(sent.length)
}
