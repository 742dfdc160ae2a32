/** What `celeriac doctor` finds about the servers behind an application. */
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Finding } from '../../src/cli/finding.ts'
import { Workshop } from '../cli/workshop.ts'
import { describeWith, type RedisOptions, rabbitmq, startRedis } from '../servers/index.ts'
import { buildPackage } from './processes.ts'

let shop: Workshop

beforeAll(buildPackage, 120_000)

beforeEach(() => {
  shop = new Workshop()
})

afterEach(() => shop.close())

async function findings(...args: string[]): Promise<{ code: number; said: string[]; all: Finding[] }> {
  const { code, stdout } = await shop.run('doctor', ...args, '--json')
  const { findings: all } = JSON.parse(stdout) as { findings: Finding[] }
  return { code, all, said: all.map(({ level, about, message }) => `${level} ${about}: ${message}`) }
}

it('watches the fleet for a moment where it is told to, and says what is wrong in it', async () => {
  await shop.run('call', 'add', '-b', 'sqlite://tasks.db', '--queue', 'nowhere', '--args', '[1, 2]')

  const { code, said } = await findings('-b', 'sqlite://tasks.db', '--live', '--for', '2s')

  expect(code).toBe(1)
  expect(said).toContainEqual(
    expect.stringMatching(/^ok fleet: \d+ live checks of 0 workers and \d+ queues? were made/),
  )
  expect(said).toContainEqual(expect.stringMatching(/^error queue: 1 wait in nowhere.*, and no worker takes from it$/))
})

describeWith('redis-server', 'celeriac doctor on Redis', () => {
  const examined = async (options: RedisOptions): ReturnType<typeof findings> =>
    findings('-b', (await startRedis(options)).url)

  it('finds nothing wrong with one that is set up for tasks', async () => {
    const { code, said } = await examined({ appendonly: true })

    expect(code).toBe(0)
    expect(said).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^ok redis: (Redis|Valkey) \d/),
        "ok memory: maxmemory-policy is 'noeviction': nothing is dropped",
        'ok persistence: appendonly is on',
        "ok clock: the server's clock is ours, within a second",
      ]),
    )
  })

  it('fails for one that drops tasks when memory is short, and warns of one that keeps nothing on disk', async () => {
    const { code, said, all } = await examined({ args: ['--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru'] })

    expect(code).toBe(1)
    expect(said).toContain("error memory: maxmemory-policy is 'allkeys-lru': when memory is short, tasks are dropped")
    expect(said).toContain('warn persistence: it keeps nothing on disk: when it ends, all tasks are lost')
    expect(all.find(({ about }) => about === 'memory')?.advice).toContain('CONFIG SET maxmemory-policy noeviction')
  })

  it('warns of snapshots alone, also where the settings may not be asked for', async () => {
    const snapshots = await examined({ args: ['--save', '60 1'] })
    const silent = await examined({ args: ['--rename-command', 'CONFIG', ''] })

    const ending = 'a crash loses what came since the last one'
    expect(snapshots.said).toContain(`warn persistence: it only writes snapshots: ${ending}`)
    expect(silent.said).toContain(`warn persistence: appendonly is off: ${ending}`)
  })
})

describeWith('rabbitmq', 'celeriac doctor on RabbitMQ', () => {
  it('tells the version and the kinds of queues, and warns of mirrors', async () => {
    const { url, vhost, managementUrl, api } = await rabbitmq()
    await api('PUT', `/api/policies/${vhost}/mirrors`, { pattern: '^old$', definition: { 'ha-mode': 'all' } })
    for (const [queue, type] of Object.entries({ old: 'classic', plain: 'classic', safe: 'quorum' })) {
      const body = { durable: true, arguments: { 'x-queue-type': type } }
      await api('PUT', `/api/queues/${vhost}/${queue}`, body)
    }

    const { code, said } = await findings('-b', url, '--management', managementUrl)

    expect(code).toBe(0)
    expect(said).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^ok rabbitmq: RabbitMQ \d+\.\d+/),
        'ok queue types: 2 classic, on one node each; 1 quorum, on several where there is a cluster',
        'warn queue types: 1 classic queue mirrored by a policy (old); RabbitMQ 4 has no mirrors',
      ]),
    )
  })

  it('says so where there is no management API to ask', async () => {
    const { url } = await rabbitmq()

    const { code, said } = await findings('-b', url, '--management', 'http://127.0.0.1:1')

    expect(code).toBe(0)
    expect(said).toContainEqual(expect.stringMatching(/^ok queue types: not known: no management API at .*:1 \(/))
  })
})
