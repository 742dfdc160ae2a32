/** `celeriac migrate` as a process of its own, between real servers: killed again and again, then completed. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from 'celeriac'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Broker, OutgoingMessage } from '../../src/broker/broker.ts'
import { connect } from '../../src/connect.ts'
import { type Ran, Workshop } from '../cli/workshop.ts'
import { silent } from '../flow/fixture.ts'
import { describeWith, rabbitmq, startRedis } from '../servers/index.ts'
import { buildPackage } from './processes.ts'

beforeAll(buildPackage, 120_000)

let shop = new Workshop()
const brokers: Broker[] = []

afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close()
  await shop.close()
  shop = new Workshop()
})

const addresses = {
  sqlite: async (name: string) => `sqlite://${join(shop.folder, `${name}.db`)}`,
  redis: async () => (await startRedis()).url,
  rabbitmq: async () => (await rabbitmq()).url,
}

/** An open connection of the test's own. */
async function open(url: string): Promise<Broker> {
  const { broker } = await connect(url, {
    durability: 'group',
    resultExpiresMs: Number.POSITIVE_INFINITY,
    publishTimeoutMs: 10_000,
    logger: silent,
    clock: systemClock,
  })
  await broker.open()
  brokers.push(broker)
  return broker
}

const hourMs = 3_600_000
const counts = { ready: 6_000, delayed: 400, dead: 150 }
const total = counts.ready + counts.delayed + counts.dead

function backlog(): OutgoingMessage[] {
  const message = (queue: string, id: string, delayMs?: number): OutgoingMessage => ({
    queue,
    headers: { task: 'pick', id, lang: 'js', retries: 0, celeriac: { sent: 1 } },
    properties: { contentType: 'application/json', contentEncoding: 'utf-8', correlationId: id },
    body: JSON.stringify([[id, 'x'.repeat(100)], {}, { callbacks: null, errbacks: null, chain: null, chord: null }]),
    ...(delayMs !== undefined && { delayMs }),
  })
  return [
    ...ids('ready').map((id) => message('picking', id)),
    ...ids('delayed').map((id) => message('picking', id, hourMs)),
    ...ids('dead').map((id) => message('picking.dead', id)),
  ]
}

function ids(kind: keyof typeof counts): string[] {
  return Array.from({ length: counts[kind] }, (_, index) => `${kind}-${String(index).padStart(5, '0')}`)
}

async function fill(url: string): Promise<Broker> {
  const broker = await open(url)
  const messages = backlog()
  while (messages.length > 0) await broker.publish(messages.splice(0, 500))
  return broker
}

/** The ids of all messages, sorted, and the shortest and the longest delay left. */
async function takeAll(
  broker: Broker,
  queue: string,
  isDelayed: boolean,
): Promise<{ ids: string[]; delaysMs: number[] }> {
  const consumer = await broker.consume([queue], { delayed: isDelayed })
  const found: { id: string; delayMs: number }[] = []
  for (;;) {
    const deliveries = await consumer.fetch(500, { waitMs: 500 })
    if (deliveries.length === 0) break
    found.push(...deliveries.map(({ message, delayMs }) => ({ id: String(message.headers.id), delayMs })))
    await Promise.all(deliveries.map((delivery) => delivery.ack()))
  }
  await consumer.close()
  return { ids: found.map(({ id }) => id).sort(), delaysMs: found.map(({ delayMs }) => delayMs) }
}

function migrate(from: string, to: string, ...flags: string[]): string[] {
  return ['migrate', '--from', from, '--to', to, '--queue', 'picking', '--lease', '1s', '--yes', ...flags]
}

async function expectMoved(source: Broker, target: Broker): Promise<void> {
  const ready = await takeAll(target, 'picking', false)
  const delayed = await takeAll(target, 'picking', true)
  const dead = await takeAll(target, 'picking.dead', false)
  expect(ready.ids).toEqual(ids('ready'))
  expect(delayed.ids).toEqual(ids('delayed'))
  expect(dead.ids).toEqual(ids('dead'))
  expect(Math.max(...delayed.delaysMs)).toBeLessThanOrEqual(hourMs)
  expect(Math.min(...delayed.delaysMs)).toBeGreaterThan(hourMs / 2)
  for (const queue of ['picking', 'picking.dead']) {
    for (const isDelayed of [false, true]) expect((await takeAll(source, queue, isDelayed)).ids).toEqual([])
  }
  expect(await target.depth('celeriac.migration')).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
}

type Kind = keyof typeof addresses

function itMoves(from: Kind, to: Kind): void {
  it(`from ${from} to ${to}, killed again and again, moves every message once`, { timeout: 120_000 }, async () => {
    const [fromUrl, toUrl] = [await addresses[from]('from'), await addresses[to]('to')]
    const source = await fill(fromUrl)
    const target = await open(toUrl)

    let kills = 0
    for (let share = Math.random() / 4; share < 1; share += 0.2 + Math.random() / 4) {
      const run = shop.start(...migrate(fromUrl, toUrl))
      let isOver = false
      const ended = run.ended.then(() => {
        isOver = true
      })
      await vi.waitUntil(async () => isOver || (await arrived(target)) >= share * total, {
        interval: 1,
        timeout: 60_000,
      })
      if (!isOver) kills += 1
      run.process.kill('SIGKILL')
      await ended
    }
    const last: Ran = await shop.run(...migrate(fromUrl, toUrl, '--json'))

    expect(last.code, last.stderr).toBe(0)
    expect(JSON.parse(last.stdout)).toMatchObject({ complete: true, left: 0, running: 0 })
    expect(kills).toBeGreaterThan(0)
    await expectMoved(source, target)
  })
}

/** Ready messages on the target: on every broker told at once. */
async function arrived(target: Broker): Promise<number> {
  const [live, dead] = [await target.depth('picking'), await target.depth('picking.dead')]
  return live.ready + live.delayed + dead.ready
}

describe('celeriac migrate', () => {
  itMoves('sqlite', 'sqlite')

  it('tells with --dry-run what would go, and changes nothing', async () => {
    const from = await addresses.sqlite('from')
    const source = await fill(from)

    const { code, stdout, stderr } = await shop.run('migrate', '--from', from, '--to', 'to.db', '--dry-run')

    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/^QUEUE +READY +DELAYED .*\npicking +6,000 +400 .*\npicking\.dead +150 +0 /)
    expect(stderr).toContain('6,550 messages would go')
    expect(existsSync(join(shop.folder, 'to.db'))).toBe(false)
    expect(await source.depth('picking')).toMatchObject({ ready: counts.ready, delayed: counts.delayed })
  })

  it('moves all queues if none is named, and prints one JSON object with --json', async () => {
    const [from, to] = [await addresses.sqlite('from'), await addresses.sqlite('to')]
    await fill(from)

    const { code, stdout, stderr } = await shop.run('migrate', '--from', from, '--to', to, '--json')

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject({
      complete: true,
      moved: total,
      queues: [
        { queue: 'picking', moved: counts.ready + counts.delayed, delayed: counts.delayed, left: 0 },
        { queue: 'picking.dead', moved: counts.dead },
      ],
    })
  })

  it('ends at Ctrl-C after the batch under way, and says how to go on', async () => {
    const [from, to] = [await addresses.sqlite('from'), await addresses.sqlite('to')]
    const [source, target] = [await fill(from), await open(to)]
    for (let more = 0; more < 40; more++) await source.publish(backlog().slice(0, 1_000))

    const run = shop.start('migrate', '--from', from, '--to', to)
    await vi.waitUntil(async () => (await arrived(target)) > 0, { interval: 1, timeout: 30_000 })
    run.process.kill('SIGINT')
    const code = await run.ended

    expect(code, run.said()).toBe(1)
    expect(run.said()).toContain('stopping after the batch under way')
    expect(run.said()).toContain('the same command goes on where it stopped')
    const [gone, rest] = [await arrived(target), await source.depth('picking')]
    expect(gone + rest.ready + rest.delayed + counts.dead).toBe(total + 40_000)
    expect(await target.depth('celeriac.migration')).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
  })

  it('asks before it goes on beside workers of the source, and takes --yes for an answer', async () => {
    const [from, to] = [await addresses.sqlite('from'), await addresses.sqlite('to')]
    const source = await fill(from)
    const worker = await source.consume(['picking'])
    await worker.fetch(3)

    const refused = await shop.run('migrate', '--from', from, '--to', to)
    const agreed = await shop.run('migrate', '--from', from, '--to', to, '--lease', '1s', '--yes')

    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("still serve 'picking'") })
    expect(agreed.code, agreed.stderr).toBe(0)
    expect(agreed.stderr).toContain('3 are running at the source')
    expect(await source.depth('picking')).toEqual({ ready: 0, delayed: 0, inFlight: 3 })
  })

  it('refuses a source that does not exist, one that is the target, and queues that it does not have', async () => {
    const from = await addresses.sqlite('from')
    await open(from)

    const missing = await shop.run('migrate', '--from', 'nothing.db', '--to', 'to.db')
    const same = await shop.run('migrate', '--from', from, '--to', './from.db')
    const unknown = await shop.run('migrate', '--from', from, '--to', 'to.db', '--queue', 'pick')

    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no database') })
    expect(same).toMatchObject({ code: 2, stderr: expect.stringContaining('are the same broker') })
    expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining("no queue 'pick'") })
  })
})

describeWith('redis-server', 'celeriac migrate with Redis', () => {
  itMoves('sqlite', 'redis')
  itMoves('redis', 'sqlite')
})

describeWith(['redis-server', 'rabbitmq'], 'celeriac migrate with RabbitMQ', () => {
  itMoves('redis', 'rabbitmq')
  itMoves('rabbitmq', 'redis')
})
