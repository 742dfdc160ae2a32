/** Beats in processes of their own, whose leader is killed. */
import { join } from 'node:path'
import { Celeriac } from 'celeriac'
import { beforeAll, describe, expect, it } from 'vitest'
import { firingId } from '../../src/beat/entry.ts'
import { describeWith, rabbitmq, redisUrl } from '../servers/index.ts'
import { buildPackage, newFolder, type Program, start, until } from './processes.ts'

beforeAll(buildPackage, 120_000)

const killsForMs = process.env.CELERIAC_TEST_LONG === undefined ? 9_000 : 120_000
const leadsForMs = 3_000
const takesOverWithinMs = 10_000
const entries = 200

async function killLeaders(broker: string): Promise<void> {
  // When the first of them has declared the entries.
  const startMs = Math.ceil(Date.now() / 1_000 + 5) * 1_000
  const env = { BROKER: broker, ENTRIES: String(entries), START: new Date(startMs).toISOString() }
  const spawn = (): Program => start('beat.mjs', [], env)
  let beats = [spawn(), spawn(), spawn()]
  const leader = (): Program | undefined => beats.find(({ said }) => said.includes('the beat leads'))
  const pauses: number[] = []
  await until(() => leader() !== undefined, 30_000)

  const untilMs = Date.now() + killsForMs
  while (Date.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, leadsForMs))
    const killed = leader() as Program
    killed.kill('SIGKILL')
    await killed.ended
    const killedAtMs = Date.now()
    beats = [...beats.filter((beat) => beat !== killed), spawn()]
    await until(() => leader() !== undefined, takesOverWithinMs + 5_000).catch((error) => {
      throw new Error(`nobody leads; the beats said:\n${beats.map(({ said }) => said.slice(-2_000)).join('\n---\n')}`, {
        cause: error,
      })
    })
    pauses.push(Date.now() - killedAtMs)
  }
  await until(() => leader() !== undefined)
  const lastTakeoverMs = Date.now()
  await using watcher = await new Celeriac('beats', { broker }).open()
  await until(async () => {
    const seen = await watcher.schedules.list()
    return seen.length === entries && seen.every(({ lastDueAt }) => (lastDueAt?.getTime() ?? 0) > lastTakeoverMs)
  }, takesOverWithinMs)
  for (const beat of beats) beat.kill('SIGKILL')
  await Promise.all(beats.map(({ ended }) => ended))

  const infos = await watcher.schedules.list()
  const sent = await drain(watcher)
  expect(infos).toHaveLength(entries)
  expect(Math.max(...pauses)).toBeLessThan(takesOverWithinMs)
  const expected: string[] = []
  for (const { name, lastDueAt, missed } of infos) {
    const lastMs = lastDueAt?.getTime() ?? 0
    expect(missed).toBe(0)
    expect(lastMs).toBeGreaterThan(untilMs - 2_000)
    for (let dueMs = startMs; dueMs <= lastMs; dueMs += 1_000) expected.push(firingId('beats', name, 0, dueMs))
  }
  // As sets first: a difference of thousands of ids would take minutes to print.
  expect(sent.length - new Set(sent).size, 'sent twice').toBe(0)
  const found = new Set(sent)
  expect(expected.filter((id) => !found.has(id)).length, 'missing').toBe(0)
  expect(sent.length, 'sent').toBe(expected.length)
}

/** Ids of all messages there are. */
async function drain(app: Celeriac): Promise<string[]> {
  const consumer = await app.broker.consume(['ticks'])
  const ids: string[] = []
  for (;;) {
    const deliveries = await consumer.fetch(1_000, { waitMs: 500 })
    ids.push(...deliveries.map(({ message }) => String(message.headers.id)))
    await Promise.all(deliveries.map((delivery) => delivery.ack()))
    if (deliveries.length === 0) break
  }
  await consumer.close()
  return ids
}

const timeout = killsForMs + 90_000

describe('beats whose leader is killed, again and again, send each due time once', () => {
  it('on SQLite', { timeout }, () => killLeaders(`sqlite://${join(newFolder(), 'queue.db')}`))

  describeWith('redis', 'with Redis', () => {
    it('on Redis', { timeout }, async () => killLeaders(`${await redisUrl()}?prefix=beats-${process.pid}-`))
  })

  describeWith('rabbitmq', 'with RabbitMQ', () => {
    // Three beats that begin at once need up to half a minute there to agree on who leads.
    it.runIf(process.env.CELERIAC_TEST_LONG !== undefined)('on RabbitMQ', { timeout }, async () =>
      killLeaders((await rabbitmq()).url),
    )
  })
})
