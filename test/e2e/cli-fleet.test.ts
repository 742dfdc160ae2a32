/** The commands that talk to workers: here with workers from a script, on the bus of a file. */
import { join } from 'node:path'
import { Celeriac } from 'celeriac'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Bus, controlTopic } from '../../src/broker/bus.ts'
import { taskEventsTopic, topicOf } from '../../src/events/event.ts'
import { demoApp, Workshop } from '../cli/workshop.ts'
import { type ControlRequest, capturedExchange } from '../flow/scripted-node.ts'

let shop: Workshop
let app: Celeriac
let bus: Bus
/** What was asked and told, in order. */
let heard: ControlRequest[]

beforeEach(async () => {
  shop = await new Workshop({ 'app.ts': demoApp }).install()
  app = await new Celeriac('scripted', { broker: `sqlite://${join(shop.folder, 'tasks.db')}` }).open()
  bus = await app.bus()
  heard = []
})

afterEach(async () => {
  await app.close()
  await shop.close()
})

const onApp = ['-A', 'app.ts'] as const
const onFile = ['-b', 'sqlite://tasks.db'] as const

/** Workers of these names, which know these answers to these methods. */
async function workers(names: readonly string[], answers: Readonly<Record<string, unknown>> = {}): Promise<void> {
  await bus.subscribe([controlTopic], ({ payload, reply }) => {
    const request = payload as ControlRequest
    heard.push(request)
    const { method, destination } = request
    for (const name of names.filter((one) => destination === null || destination.includes(one))) {
      void reply?.({
        [name]: answers[method] ?? (method === 'ping' ? { ok: 'pong' } : { error: `KeyError('${method}')` }),
      })
    }
  })
}

const told = () => heard.map(({ method, arguments: given }) => ({ method, ...given }))

describe('celeriac status', () => {
  it('shows the workers that answer', async () => {
    await workers(['w1@h1', 'w2@h1'])

    const { code, stdout } = await shop.run('status', ...onApp)

    expect({ code, stdout }).toEqual({ code: 0, stdout: '->  w1@h1: OK\n->  w2@h1: OK\n\n2 nodes online.\n' })
  })

  it('fails when none does, and says what to look at', async () => {
    const { code, stdout, stderr } = await shop.run('status', ...onFile, '-t', '100ms')
    const asJson = await shop.run('status', ...onFile, '-t', '100ms', '--json')

    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^celeriac: no worker answered within 100 ms; is one running .* -t 5\n$/)
    expect(asJson).toMatchObject({ code: 1, stdout: '{}\n' })
  })

  it('fails when one of those that were asked is silent', async () => {
    await workers(['w1@h1'])

    const { code, stdout, stderr } = await shop.run('status', ...onApp, '-d', 'w1@h1,w9@h1', '-t', '0.3')

    expect(code).toBe(1)
    expect(stdout).toContain('->  w1@h1: OK')
    expect(stderr).toContain('w9@h1 did not answer within 300 ms')
  })
})

describe('celeriac inspect', () => {
  it.each(['active_queues', 'active-queues', 'activeQueues'])('takes the name %s, and prints JSON', async (name) => {
    const [reply] = capturedExchange('inspect-active_queues').replies
    await workers(['w1@h1'], { active_queues: reply?.['w1@h1'] })

    expect(await shop.json('inspect', name, ...onApp, '-d', 'w1@h1')).toEqual(reply)
  })

  it('prints lists, texts and objects as Celery does', async () => {
    await workers(['w1@h1'], {
      registered: ['lab.add', 'lab.mul'],
      reserved: [],
      report: { ok: 'software -> py\u001b[2J\nplatform -> linux' },
      clock: { clock: 194 },
    })
    const shown = async (...args: string[]) => (await shop.run('inspect', ...args, ...onApp, '-d', 'w1@h1')).stdout

    expect(await shown('registered', 'rate_limit')).toBe(
      '->  w1@h1: OK\n    * lab.add\n    * lab.mul\n\n1 node online.\n',
    )
    expect(await shown('dump_reserved')).toContain('    - empty -\n')
    expect(await shown('report')).toContain('        software -> py�[2J\n        platform -> linux\n')
    expect(await shown('clock')).toContain('    {\n      "clock": 194\n    }\n')
    expect(told()[0]).toEqual({ method: 'registered', taskinfoitems: ['rate_limit'] })
  })

  it('fails when a worker cannot answer, and shows why', async () => {
    await workers(['w1@h1'])

    const { code, stdout } = await shop.run('inspect', 'stats', ...onApp, '-d', 'w1@h1')

    expect(code).toBe(1)
    expect(stdout).toContain("->  w1@h1: ERROR\n        KeyError('stats')\n")
  })
})

describe('celeriac control', () => {
  it.each([
    [['rate_limit', 'lab.mul', '10/m'], { method: 'rate_limit', task_name: 'lab.mul', rate_limit: '10/m' }],
    [['timeLimit', 'lab.mul', '5', '2m'], { method: 'time_limit', task_name: 'lab.mul', soft: 5, hard: 120 }],
    [['terminate', 'SIGKILL', 'a', 'b'], { method: 'revoke', task_id: ['a', 'b'], terminate: true, signal: 'SIGKILL' }],
    [['pool-grow'], { method: 'pool_grow', n: 1 }],
    [['autoscale', '3', '1'], { method: 'autoscale', max: 3, min: 1 }],
    [
      ['revoke_by_stamped_headers', 'tenant=a', 'tenant=b=c'],
      { method: 'revoke_by_stamped_headers', headers: { tenant: ['a', 'b=c'] }, terminate: false, signal: 'SIGTERM' },
    ],
  ])('%j tells the workers', async (words, request) => {
    await workers(['w1@h1'], { [request.method]: { ok: 'done' } })

    const { code, stdout } = await shop.run('control', ...words, ...onApp, '-d', 'w1@h1')

    expect({ code, stdout }).toEqual({ code: 0, stdout: '->  w1@h1: OK\n        done\n\n1 node online.\n' })
    expect(told()).toEqual([request])
  })

  it('does not wait for an answer where none comes', async () => {
    await workers(['w1@h1'])

    const { code, stdout, stderr } = await shop.run('control', 'shutdown', ...onApp, '-d', 'w1@h1')

    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toContain('sent to w1@h1; they do not answer to shutdown')
    await expect.poll(told).toEqual([{ method: 'shutdown' }])
  })
})

describe('wrong usage of the commands for workers', () => {
  it.each([
    [['inspect', 'actve'], "did you mean 'active'? It has active, active_queues, clock"],
    [['control', 'zzz'], 'It has add_consumer, autoscale'],
    [['inspect', 'query_task'], 'it is `celeriac inspect query_task <id> [id...]`, got 0 arguments'],
    [['control', 'autoscale', '1', '3'], '`min` must be a whole number from 0 to 1, got 3'],
    [['control', 'rate_limit', 'lab.mul', 'fast'], `got "fast"`],
    [['control', 'pool_grow', 'two'], '`n` must be a whole number of at least 1, got NaN'],
    [['control', 'time_limit', 'lab.mul', 'soon'], "`soft` must be a number of seconds or a text such as '500ms'"],
    [['events', '--for', 'ever'], "'500ms', '30s'"],
  ])('celeriac %j is answered with what is right', async (words, answer) => {
    const { code, stdout, stderr } = await shop.run(...words, ...onFile)

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(answer)
    expect(heard).toEqual([])
  })
})

const received = {
  type: 'task-received',
  hostname: 'w1@h1',
  uuid: 'a-1',
  name: 'lab.add',
  args: '(1, 2)',
  timestamp: 1,
  clock: 1,
}
const succeeded = {
  type: 'task-succeeded',
  hostname: 'w1@h1',
  uuid: 'a-1',
  result: '3',
  runtime: 0.012,
  timestamp: 2,
  clock: 2,
}
const online = { type: 'worker-online', hostname: 'w1@h1', timestamp: 0, clock: 0 }

describe('celeriac events', () => {
  it('prints a line for each, with the name of the task, until it is interrupted', async () => {
    const events = shop.start('events', ...onApp)
    await events.says(/listening/)

    await bus.publish(topicOf(online.type), online)
    await bus.publish(taskEventsTopic, [received, succeeded, 'garbage'])

    await events.says(/ {2}w1@h1 {2}task-succeeded {2}lab\.add {2}a-1 {2}result=3 {2}runtime=12 ms\n/)
    expect(events.said()).toMatch(/ {2}w1@h1 {2}task-received {2}lab\.add {2}a-1 {2}args=\(1, 2\)\n/)
    events.process.kill('SIGINT')
    expect(await events.ended).toBe(0)
  })

  it('--json prints them as they came, of the types that were asked for', async () => {
    const events = shop.start('events', ...onApp, '--json', '--types', 'task-*')
    await events.says(/listening/)

    await bus.publish(topicOf(online.type), online)
    await bus.publish(taskEventsTopic, [received, succeeded])

    await events.says(/task-succeeded/)
    const lines = events
      .said()
      .split('\n')
      .filter((line) => line.startsWith('{'))
    expect(lines.map((line) => JSON.parse(line))).toEqual([received, succeeded])
  })

  it('ends after the time it was given', async () => {
    expect(await shop.run('events', ...onApp, '--for', '50ms')).toMatchObject({ code: 0, stdout: '' })
  })
})

describe('celeriac top', () => {
  it('prints what there is and ends where stdout is no terminal', async () => {
    const active = [{ id: 'a-1', name: 'lab.slow', args: '(3,)', time_start: Date.now() / 1_000 - 75 }]
    await workers(['w1@h1'], { active })
    await bus.subscribe([controlTopic], ({ payload }) => {
      if ((payload as ControlRequest).method !== 'heartbeat') return
      void bus.publish('celeryev.worker.heartbeat', { ...online, type: 'worker-heartbeat', active: 1, freq: 2 })
    })
    await shop.run('call', 'small', ...onApp, '--args', '[1]')

    const { code, stdout } = await shop.run('top', ...onApp)
    const data = await shop.json('top', ...onFile)

    expect(code).toBe(0)
    expect(stdout).toMatch(/workers 1 of 1 {3}running 1 {3}ready 1\n/)
    expect(stdout).toMatch(/ {2}w1@h1 +online +1 /)
    expect(stdout).toMatch(/ {2}fragile +1 .*no worker/)
    expect(stdout).toMatch(/ {2}lab\.slow +a-1 +STARTED +1 min 1\d s +w1@h1 +\(3,\)\n/)
    expect(data).toMatchObject({
      workers: [{ hostname: 'w1@h1', isAlive: true }],
      queues: [{ queue: 'fragile', ready: 1 }],
      tasks: [{ uuid: 'a-1', state: 'STARTED' }],
    })
  })
})
