import type { Celeriac } from 'celeriac'
import { describe, expect, it } from 'vitest'
import type { ControlOptions } from '../../src/control/addressing.ts'
import type { Control } from '../../src/control/client.ts'
import type { Inspect } from '../../src/control/inspect.ts'
import { isErrorReply } from '../../src/control/replies.ts'
import { brokers, newApp, rejection, thrown, until } from './fixture.ts'
import { capturedExchange, type Heard, scriptReplies } from './scripted-node.ts'

const pong = { ok: 'pong' }

/** An application, and workers that answer whatever is asked. */
async function fleet(replies: readonly unknown[], options = {}): Promise<{ app: Celeriac; heard: Heard[] }> {
  const app = newApp(options)
  return { app, heard: await scriptReplies(await app.bus(), replies) }
}

describe.each(brokers)('asking the workers on $broker', ({ url }) => {
  it('gathers the answer of each by its node name', async () => {
    const { app } = await fleet([{ 'w1@h1': pong }, { 'w2@h1': pong }], { broker: url() })

    const replies = await app.control.inspect({ timeout: '1s' }).ping()

    expect(replies).toEqual({ 'w1@h1': pong, 'w2@h1': pong })
  })

  it('gives an empty object when none answers in time', async () => {
    const app = newApp({ broker: url() })

    expect(await app.control.inspect({ timeout: '20ms' }).ping()).toEqual({})
  })

  it('ends once each node of the destination has answered', async () => {
    const { app } = await fleet([{ 'w1@h1': pong }, { 'w2@h1': pong }], { broker: url() })

    const replies = await app.control.inspect({ destination: ['w1@h1', 'w2@h1', 'w1@h1'], timeout: '1h' }).ping()

    expect(Object.keys(replies)).toEqual(['w1@h1', 'w2@h1'])
  })

  it('ends after so many answers as `limit` says', async () => {
    const { app } = await fleet([{ 'w1@h1': pong }, { 'w2@h1': pong }], { broker: url() })

    const replies = await app.control.broadcast('ping', {}, { reply: true, limit: 1, timeout: '1h' })

    expect(replies).toEqual({ 'w1@h1': pong })
  })

  it('leaves out what is no answer', async () => {
    const strange = ['pong', null, 7, [], {}, { '': pong }, { 'w1@h1': pong }]
    const { app } = await fleet(strange, { broker: url() })

    const replies = await app.control.broadcast('ping', {}, { reply: true, limit: strange.length, timeout: '5s' })

    expect(replies).toEqual({ 'w1@h1': pong })
  })
})

describe('what is asked goes out as Python sends it', () => {
  const ask: readonly (readonly [string, string | undefined, (inspect: Inspect) => Promise<unknown>])[] = [
    ['inspect-ping', undefined, (inspect) => inspect.ping()],
    ['inspect-active-reserved-scheduled-query', 'active', (inspect) => inspect.active()],
    ['inspect-active-reserved-scheduled-query', 'reserved', (inspect) => inspect.reserved()],
    ['inspect-active-reserved-scheduled-query', 'scheduled', (inspect) => inspect.scheduled()],
    [
      'inspect-active-reserved-scheduled-query',
      'query_task',
      (inspect) => inspect.queryTask('e3680824-aa79-478d-87bd-141b60e4cec0', '7e65899e-c795-4da5-bdeb-54db38ca7b1e'),
    ],
    ['inspect-active_queues', undefined, (inspect) => inspect.activeQueues()],
    ['inspect-clock', undefined, (inspect) => inspect.clock()],
    ['inspect-conf', undefined, (inspect) => inspect.conf()],
    ['inspect-memsample', undefined, (inspect) => inspect.memsample()],
    ['inspect-registered', undefined, (inspect) => inspect.registered()],
    ['inspect-registered-attrs', undefined, (inspect) => inspect.registered('rate_limit', 'max_retries')],
    ['inspect-revoked', undefined, (inspect) => inspect.revoked()],
    ['inspect-stats', undefined, (inspect) => inspect.stats()],
  ]

  it.each(ask)('%s %s', async (name, method, question) => {
    const { request, replies } = capturedExchange(name, method)
    const { app, heard } = await fleet(replies)

    const answers = await question(app.control.inspect({ timeout: '20ms' }))

    expect(heard.map((one) => one.request)).toEqual([request])
    expect(answers).toEqual(Object.assign({}, ...replies))
  })

  const tell: readonly (readonly [string, (control: Control, options: ControlOptions) => Promise<unknown>])[] = [
    ['add_consumer', (control, options) => control.addConsumer('newq', options)],
    ['autoscale', (control, options) => control.autoscale(3, 1, options)],
    ['cancel_consumer', (control, options) => control.cancelConsumer('newq', options)],
    ['disable_events', (control, options) => control.disableEvents(options)],
    ['enable_events', (control, options) => control.enableEvents(options)],
    ['ping-destination', (control) => control.ping({ destination: ['w1@h1'] })],
    ['ping-pattern', (control) => control.ping({ pattern: 'w*', timeout: '20ms' })],
    ['ping-pattern-pcre', (control) => control.ping({ pattern: '^w[0-9]@.*$', matcher: 'pcre', timeout: '20ms' })],
    ['pool_grow', (control, options) => control.poolGrow(1, options)],
    ['pool_restart', (control, options) => control.poolRestart(options)],
    ['pool_shrink', (control, options) => control.poolShrink(1, options)],
    ['pool_shrink-too-many', (control, options) => control.poolShrink(10, options)],
    ['rate_limit', (control, options) => control.rateLimit('lab.mul', '10/m', options)],
    ['rate_limit-bad', (control, options) => control.rateLimit('lab.nosuch', '10/m', options)],
    ['rate_limit-off', (control, options) => control.rateLimit('lab.mul', null, options)],
    ['revoke', (control, options) => control.revoke('abc-1', options)],
    ['revoke-list', (control, options) => control.revoke(['abc-1', 'abc-2'], options)],
    ['revoke_by_stamped_headers', (control, options) => control.revokeByStampedHeaders({ tenant: 'acme' }, options)],
    ['terminate-unknown', (control, options) => control.terminate('abc-1', { ...options, signal: 'SIGKILL' })],
    ['time_limit', (control, options) => control.timeLimit('lab.mul', { ...options, soft: 5, hard: '10s' })],
    ['unknown', (control, options) => control.broadcast('nosuchcmd', {}, options)],
  ]

  it.each(tell)('%s', async (name, command) => {
    const { request, replies } = capturedExchange(name)
    const { app, heard } = await fleet(replies)

    const answers = await command(app.control, { reply: true, timeout: '20ms' })

    expect(heard.map((one) => one.request)).toEqual([request])
    expect(answers).toEqual(Object.assign({}, ...replies))
  })

  it.each([
    ['heartbeat', (control: Control) => control.heartbeat()],
    ['shutdown-one', (control: Control) => control.shutdown({ destination: ['w2@h1'] })],
    [
      'election-two-workers',
      (control: Control) =>
        control.election('el-1', 'task', capturedExchange('election-two-workers').request.arguments.action),
    ],
  ] as const)('%s, without waiting for an answer', async (name, command) => {
    const { app, heard } = await fleet([{ 'w1@h1': pong }])

    const answers = await command(app.control)

    await until(() => heard.length > 0)
    expect(heard).toMatchObject([{ request: capturedExchange(name).request, wantsReply: false }])
    expect(answers).toEqual({})
  })

  it('with a logical time that grows, and the time when it lapses', async () => {
    const { app, heard } = await fleet([])
    const before = Date.now() / 1_000

    await app.control.heartbeat()
    await app.control.revoke('abc-1', { timeout: 30 })

    await until(() => heard.length === 2)
    const clocks = heard.map(({ headers }) => headers.clock as number)
    expect(clocks).toEqual([...clocks].sort((a, b) => a - b))
    expect(new Set(clocks).size).toBe(2)
    expect(heard[1]?.headers.expires).toBeGreaterThanOrEqual(before + 30)
    expect(heard[1]?.headers.expires).toBeLessThan(before + 90)
  })
})

describe('a command that cannot be meant', () => {
  const refused: readonly (readonly [string, (control: Control) => Promise<unknown>, RegExp])[] = [
    ['without ids', (control) => control.revoke([]), /`ids` must be the id of a task/],
    [
      'to nobody',
      (control) => control.shutdown({ destination: [] }),
      /`destination` must be a list of at least one node/,
    ],
    ['with a text as destination', (control) => control.ping({ destination: 'w1@h1' as never }), /got "w1@h1"/],
    ['to nodes by name and pattern', (control) => control.ping({ destination: ['a@h'], pattern: 'a*' }), /give either/],
    [
      'with an unknown matcher',
      (control) => control.ping({ pattern: 'a', matcher: 're' as never }),
      /'glob' or 'pcre'/,
    ],
    ['with a matcher and no pattern', (control) => control.ping({ matcher: 'glob' }), /there is none/],
    ['with a strange rate', (control) => control.rateLimit('t', 'fast'), /'10\/s'.*got "fast"/],
    ['with bounds the wrong way round', (control) => control.autoscale(1, 3), /`min` must be .* from 0 to 1, got 3/],
    ['with half a slot', (control) => control.poolGrow(0.5), /`n` must be a whole number/],
    ['with a strange time', (control) => control.ping({ timeout: '3x' as never }), /`timeout` must be/],
    [
      'with an unknown option',
      (control) => control.ping({ destinaton: ['a@h'] } as never),
      /did you mean `destination`/,
    ],
  ]

  it.each(refused)('%s, is refused before anything is sent', async (_what, command, message) => {
    const { app, heard } = await fleet([])

    const error = await rejection(command(app.control))

    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) })
    expect(heard).toEqual([])
  })

  it('is refused where questions are prepared, too', () => {
    expect(thrown(() => newApp().control.inspect({ destination: [] }))).toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

describe('an answer', () => {
  it('is told from a refusal', async () => {
    const { app } = await fleet([{ 'w1@h1': { error: 'unknown task' } }, { 'w2@h1': { ok: 'done' } }])

    const replies = await app.control.rateLimit('t', 1, { reply: true, limit: 2, timeout: '5s' })

    expect(Object.entries(replies).map(([node, reply]) => [node, isErrorReply(reply)])).toEqual([
      ['w1@h1', true],
      ['w2@h1', false],
    ])
  })

  it('of data is no refusal, even where it has something called error', () => {
    expect([{ error: 'x', timezone: 'UTC' }, ['error'], null, 'error'].map(isErrorReply)).toEqual(Array(4).fill(false))
  })
})

describe('the bus of an application', () => {
  it('is opened once, by its first use, and can be used again after a close', async () => {
    const app = newApp()

    const [first, second] = await Promise.all([app.bus(), app.bus()])
    await app.close()
    const third = await app.bus()

    expect(first).toBe(second)
    await expect(third.publish('x', {})).resolves.toBeUndefined()
    expect(await rejection(first.publish('x', {}))).toMatchObject({ code: 'CLOSED' })
  })
})
