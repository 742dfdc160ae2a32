/** What was written against Flower goes on working: its paths, its parameters, its replies. */
import { describe, expect, it } from 'vitest'
import { memoryUrl, newApp, until } from '../flow/fixture.ts'
import { monitoring } from './fixture.ts'

async function flower(broker: string) {
  const app = newApp({ broker, results: true })
  const { url, get } = await monitoring(broker, { app })
  const ask = async (method: string, path: string, form?: Record<string, string>) => {
    const response = await fetch(`${url}/api/${path}`, {
      method,
      ...(form !== undefined && { body: new URLSearchParams(form) }),
    })
    const text = await response.text()
    // biome-ignore lint/suspicious/noExplicitAny: tests look at it as they expect it
    const body: any = response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text
    return { status: response.status, body }
  }
  return { app, url, get, ask }
}

describe('Flower’s API', () => {
  it('tells of tasks', async () => {
    const { app, get, ask } = await flower(memoryUrl())
    const weigh = app.task('weigh', (grams: number) => grams / 1_000)
    const drop = app.task('drop', { maxRetries: 0 }, () => {
      throw new RangeError('it slipped')
    })
    const worker = await app.worker({ taskEvents: true })
    const weighed = await weigh.delay(250)
    const dropped = await drop.delay()
    await until(async () => (await get('/tasks')).tasks.every(({ endedAt }: { endedAt: number }) => endedAt !== null))
    await until(async () => (await get('/tasks')).tasks.length === 2)

    const { body: all } = await ask('get', 'tasks?sort_by=-name&limit=1')
    expect(Object.keys(all)).toEqual([weighed.id])
    expect(Object.keys((await ask('get', 'tasks?state=FAILURE&taskname=drop')).body)).toEqual([dropped.id])
    expect((await ask('get', 'tasks?sort_by=colour')).status).toBe(400)
    expect((await ask('get', 'task/types')).body).toEqual({ 'task-types': ['drop', 'weigh'] })
    const { body: info } = await ask('get', `task/info/${weighed.id}`)
    expect(info).toMatchObject({ uuid: weighed.id, name: 'weigh', state: 'SUCCESS', args: '(250,)', result: '0.25' })
    expect(info).toMatchObject({ worker: worker.name, succeeded: expect.any(Number), failed: null, children: [] })
    expect(await ask('get', 'task/info/none')).toEqual({ status: 404, body: "Unknown task 'none'" })
    expect((await ask('get', `task/result/${weighed.id}`)).body).toEqual({
      'task-id': weighed.id,
      state: 'SUCCESS',
      result: 0.25,
    })
    expect((await ask('get', `task/result/${dropped.id}`)).body).toMatchObject({
      state: 'FAILURE',
      result: 'it slipped',
    })
  })

  it('sends tasks, and waits for them where it is asked to', async () => {
    const { app, url, ask } = await flower(memoryUrl())
    app.task('add', (a: number, b: number) => a + b)
    await app.worker()
    const send = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
      const response = await fetch(`${url}/api/task/${path}`, { method: 'post', body: JSON.stringify(body) })
      return (await response.json()) as Record<string, unknown>
    }

    expect(await send('apply/add', { args: [2, 3] })).toMatchObject({ state: 'SUCCESS', result: 5 })
    const sent = await send('async-apply/add', { args: [4, 5] })
    expect(sent).toEqual({ 'task-id': expect.any(String), state: 'PENDING' })
    expect((await ask('get', `task/result/${sent['task-id']}?timeout=5`)).body).toMatchObject({ result: 9 })
  })

  it('tells of workers, and tells them', async () => {
    const { app, url, ask } = await flower(memoryUrl())
    app.task('add', (a: number, b: number) => a + b)
    const worker = await app.worker({ concurrency: 4 })
    const name = worker.name
    await until(async () => (await ask('get', 'workers?status=1')).body[name] === true)

    const { body: workers } = await ask('get', `workers?workername=${name}&refresh=1`)
    expect(Object.keys(workers[name])).toEqual(
      expect.arrayContaining([
        'stats',
        'active',
        'registered',
        'reserved',
        'scheduled',
        'revoked',
        'active_queues',
        'conf',
      ]),
    )
    expect((await ask('post', `worker/pool/grow/${name}`, { n: '2' })).body).toEqual({
      message: `Growing '${name}' worker's pool by 2`,
    })
    expect(worker.pools[0]?.size).toBe(6)
    expect((await ask('post', `worker/queue/add-consumer/${name}?queue=more`)).body.message).toContain('more')
    expect(worker.settings.queues.length + 1).toBeGreaterThan(1)
    expect((await ask('post', 'task/rate-limit/add', { workername: name, ratelimit: '5/s' })).body.message).toContain(
      'rate limit',
    )
    expect((await ask('post', 'task/rate-limit/nope', { workername: name, ratelimit: '5/s' })).status).toBe(403)
    expect(await ask('post', 'worker/pool/grow/nobody')).toEqual({ status: 404, body: "Unknown worker 'nobody'" })
    expect((await ask('post', 'task/revoke/some-id?terminate=true')).body).toEqual({ message: "Revoked 'some-id'" })
    await until(() => worker.revoked.has('some-id'))
    const table = (await (await fetch(`${url}/workers?json=1`)).json()) as { data: { hostname: string }[] }
    expect(table.data).toMatchObject([{ hostname: name, status: true, 'task-received': 0 }])
    expect(await (await fetch(`${url}/healthcheck`)).text()).toBe('OK')
    const kept = await fetch(`${url}/task/some-id`, { redirect: 'manual' })
    expect([kept.status, kept.headers.get('location')]).toEqual([302, '/tasks/some-id'])
    await app.remote('add', { queue: 'unserved' }).delay(1, 2)
    const lengths = async () => (await ask('get', 'queues/length')).body.active_queues
    await until(async () =>
      (await lengths()).some(({ name, messages }: never) => name === 'unserved' && messages === 1),
    )
    expect((await ask('post', `worker/shutdown/${name}`)).body).toEqual({ message: 'Shutting down!' })
    await until(() => worker.stopping.aborted)
  })
})
