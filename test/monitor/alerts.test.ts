import { createHmac } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { Alerts } from '../../src/monitor/alerts/alerts.ts'
import { nextStanding, type Standing } from '../../src/monitor/alerts/standing.ts'
import { AlertStore } from '../../src/monitor/store/alert-store.ts'
import { inMemory } from '../../src/monitor/store/database.ts'
import { MonitorStore } from '../../src/monitor/store/store.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { memoryUrl, silent, until } from '../flow/fixture.ts'
import { monitoring } from './fixture.ts'

const servers: (Server | TcpServer)[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

interface Post {
  readonly body: string
  readonly signature: string | undefined
}

/** A webhook of somebody; its answers are as it is told. */
async function webhook(status = () => 200) {
  const posts: Post[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (part) => {
      body += part
    })
    request.on('end', () => {
      const signature = request.headers['x-celeriac-signature']
      posts.push({ body, signature: signature === undefined ? undefined : String(signature) })
      response.writeHead(status(), { location: 'http://127.0.0.1:9/' }).end()
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { posts, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?key=s3cret` }
}

/** A mail server that takes whatever comes (RFC 5321). */
async function mailServer() {
  const mails: string[] = []
  const server = createTcpServer((socket) => {
    let isData = false
    let mail = ''
    socket.write('220 test\r\n')
    socket.on('data', (bytes) => {
      for (const line of bytes.toString().split('\r\n').slice(0, -1)) {
        if (isData && line !== '.') mail += `${line}\n`
        else if (isData) {
          isData = false
          mails.push(mail)
          socket.write('250 taken\r\n')
        } else if (line === 'DATA') {
          isData = true
          socket.write('354 go on\r\n')
        } else socket.write(line.startsWith('QUIT') ? '221 bye\r\n' : '250 ok\r\n')
      }
    })
    socket.on('error', () => undefined)
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { mails, url: `smtp://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** Alerts over queues of given depths, by a clock that the test moves. */
function standingAlone(depths: Record<string, number>) {
  const clock = new ManualClock(Date.UTC(2025, 0, 1))
  const store = new MonitorStore({ path: inMemory, clock, maxTasks: 1_000, maxAgeMs: 1e9, maxBytes: 1e9 })
  const records = new AlertStore(store.db, store.facts, clock)
  const queues = { all: () => Object.entries(depths).map(([queue, ready]) => ({ queue, ready, oldestMs: null })) }
  const collector = { queues } as never
  const begin = (): Alerts => new Alerts({ collector, store, alerts: records, clock, logger: silent })
  const look = async (alerts: Alerts, ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 5_000) {
      alerts.look()
      await clock.advance(5_000)
    }
  }
  return { clock, records, begin, look }
}

const rule = {
  kind: 'depth',
  target: '*',
  threshold: 100,
  clearBelow: null,
  forMs: 0,
  channels: ['c'],
  isEnabled: true,
}

describe('how a target stands', () => {
  it('fires after it was over the threshold for as long as it must, and until it falls to the lower bound', () => {
    const bounds = { threshold: 10, clearBelow: 5, forMs: 30 }
    const values = [9, 10, 12, 11, 11, 6, 5, 12, 3]
    let standing: Standing | undefined
    const states = values.map((value, index) => {
      standing = nextStanding(standing, value, bounds, index * 10)
      return standing?.state ?? 'ok'
    })

    expect(states).toEqual(['ok', 'pending', 'pending', 'pending', 'firing', 'firing', 'ok', 'pending', 'ok'])
  })

  it('never fires before its time, nor clears above the lower bound, whatever comes', () => {
    const value = fc.double({ min: 0, max: 200, noNaN: true })
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 1 }),
        fc.nat(100),
        fc.nat(100),
        fc.nat(50),
        (values, low, more, forMs) => {
          const bounds = { threshold: low + more, clearBelow: low, forMs }
          let standing: Standing | undefined
          let overSince: number | undefined
          for (const [index, current] of values.entries()) {
            const nowMs = index * 10
            const before = standing
            standing = nextStanding(before, current, bounds, nowMs)
            overSince = current >= bounds.threshold ? (overSince ?? nowMs) : undefined
            const isFiring = standing?.state === 'firing'
            if (isFiring && before?.state !== 'firing') {
              expect(current).toBeGreaterThanOrEqual(bounds.threshold)
              expect(nowMs - (overSince ?? nowMs)).toBeGreaterThanOrEqual(forMs)
            }
            if (!isFiring && before?.state === 'firing')
              expect(current).toBeLessThanOrEqual(Math.min(low, bounds.threshold))
          }
        },
      ),
    )
  })
})

describe('what is told', () => {
  it('is one message for all that happens in a minute, signed, and another when it is over', async () => {
    const hook = await webhook()
    const depths: Record<string, number> = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`queue-${i}`, 500]))
    const { records, begin, look } = standingAlone(depths)
    records.save('alert_rules', 'r', { ...rule, name: 'Full queues' })
    const channel = { kind: 'webhook', name: 'ops', url: hook.url, secret: 'shared', lastSentAt: null, lastError: null }
    records.save('alert_channels', 'c', channel)
    const alerts = begin()

    await look(alerts, 30_000)
    await until(() => hook.posts.length === 1)
    const [first] = hook.posts as [Post]
    expect(JSON.parse(first.body)).toMatchObject({ rule: 'Full queues', kind: 'depth', resolved: [] })
    expect(JSON.parse(first.body).firing).toHaveLength(30)
    expect(JSON.parse(first.body).text).toContain('and 10 more')
    expect(first.signature).toBe(createHmac('sha256', 'shared').update(first.body).digest('hex'))

    for (const queue of Object.keys(depths)) depths[queue] = 0
    await look(alerts, 90_000)
    await until(() => hook.posts.length === 2)
    expect(JSON.parse(hook.posts[1]?.body ?? '').resolved).toHaveLength(30)
    await alerts.stop()
  })

  it('is nothing of what flaps between two messages', async () => {
    const hook = await webhook()
    const depths = { orders: 500 }
    const { records, begin, look } = standingAlone(depths)
    records.save('alert_rules', 'r', { ...rule, name: 'Full queues' })
    records.save('alert_channels', 'c', {
      kind: 'slack',
      name: 'ops',
      url: hook.url,
      lastSentAt: null,
      lastError: null,
    })
    const alerts = begin()
    await look(alerts, 5_000)
    await until(() => hook.posts.length === 1)

    for (let time = 0; time < 10; time += 1) {
      depths.orders = time % 2 === 0 ? 0 : 500
      await look(alerts, 5_000)
    }

    await look(alerts, 60_000)
    expect(hook.posts).toHaveLength(1)
    expect(JSON.parse(hook.posts[0]?.body ?? '')).toMatchObject({ text: '[celeriac] Full queues: 1 firing' })
    expect(JSON.parse(hook.posts[0]?.body ?? '').blocks).toHaveLength(2)
    await alerts.stop()
  })

  it('is not told again after a restart, nor taken for over by one that has not looked yet', async () => {
    const hook = await webhook()
    const depths: Record<string, number> = { orders: 500 }
    const { records, begin, look } = standingAlone(depths)
    records.save('alert_rules', 'r', { ...rule, name: 'Full queues' })
    records.save('alert_channels', 'c', {
      kind: 'slack',
      name: 'ops',
      url: hook.url,
      lastSentAt: null,
      lastError: null,
    })
    const first = begin()
    await look(first, 10_000)
    await until(() => hook.posts.length === 1)
    await first.stop()

    delete depths.orders
    const second = begin()
    await look(second, 20_000)
    depths.orders = 500
    await look(second, 120_000)

    expect(second.current()).toMatchObject([{ target: 'orders', state: 'firing' }])
    expect(hook.posts).toHaveLength(1)
    await second.stop()
  })

  it('is tried again where it was not taken, follows nobody elsewhere, and is noted', async () => {
    let answers = 0
    const hook = await webhook(() => {
      answers += 1
      return answers < 3 ? 302 : 200
    })
    const { clock, records, begin } = standingAlone({ orders: 500 })
    records.save('alert_rules', 'r', { ...rule, name: 'Full queues' })
    records.save('alert_channels', 'c', {
      kind: 'slack',
      name: 'ops',
      url: hook.url,
      lastSentAt: null,
      lastError: null,
    })
    const alerts = begin()

    alerts.look()
    await until(() => hook.posts.length === 1)
    await until(() => alerts.channels()[0]?.lastError !== null)
    expect(alerts.channels()[0]?.lastError).toContain('it answered 302')
    await until(async () => {
      await clock.advance(5_000)
      return hook.posts.length === 3
    })

    await until(() => records.history(10, null).entries.some(({ event }) => event === 'sent'))
    expect(alerts.channels()[0]).toMatchObject({ lastError: null })
    await alerts.stop()
  })
})

describe('through the API', () => {
  it('rules and channels are made, tested, changed and removed, and no secret is shown', async () => {
    const hook = await webhook()
    const { mails, url } = await mailServer()
    const { ask, get, post } = await monitoring(memoryUrl())
    const slack = await post('/alerts/channels', { kind: 'slack', name: 'chat', url: hook.url })
    const mail = await post('/alerts/channels', { kind: 'email', name: 'mail', url, from: 'a@x.org', to: ['b@x.org'] })

    await post(`/alerts/channels/${slack.id}/test`)
    await post(`/alerts/channels/${mail.id}/test`)

    expect(hook.posts).toHaveLength(1)
    expect(mails[0]).toMatch(/Subject: \[celeriac\] A test/)
    expect(JSON.stringify(await get('/alerts/channels'))).not.toContain('s3cret')
    expect(
      (await ask('post', '/alerts/rules', { name: 'x', kind: 'depth', threshold: 1, channels: ['none'] })).status,
    ).toBe(404)
    const made = await post('/alerts/rules', { name: 'x', kind: 'depth', threshold: 1, channels: [slack.id] })
    expect((await ask('put', `/alerts/rules/${made.id}`, { name: 'y', kind: 'oldest', threshold: 2 })).body.name).toBe(
      'y',
    )
    expect((await ask('delete', `/alerts/rules/${made.id}`)).status).toBe(200)
    expect(await get('/alerts/rules')).toEqual([])
    expect((await get('/alerts/history')).entries.map(({ event }: { event: string }) => event)).toEqual([
      'test',
      'test',
    ])
  })

  it('says why a channel did not take it', async () => {
    const hook = await webhook(() => 500)
    const { ask, post } = await monitoring(memoryUrl())
    const { id } = await post('/alerts/channels', { kind: 'webhook', name: 'ops', url: hook.url })

    const { status, body } = await ask('post', `/alerts/channels/${id}/test`)

    expect(status).toBe(503)
    expect(body.error.message).toBe("the channel 'ops' did not take it: it answered 500")
  })
})
