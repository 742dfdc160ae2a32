/** Results in Redis between Python's Celery and us: what either stores, the other reads, state by state. */
import { Celeriac } from 'celeriac'
import { beforeAll, expect, it, type TestContext } from 'vitest'
import { RedisResultStore } from '../../src/drivers/redis/index.ts'
import type { ResultRecord } from '../../src/result/result-store.ts'
import { resultRecord } from '../../src/testing/result-record.ts'
import { connections, raw, redisClient } from '../contract/redis-fixture.ts'
import { describeWith, type RedisServer, runPython, startRedis } from '../servers/index.ts'

const python = `
import json, os
from celery import Celery
from celery.app.task import Context
url = os.environ['REDIS_URL']
app = Celery('results', broker=url, backend=url)
backend = app.backend
given = json.loads(os.environ['INPUT'])
`

/** What `AsyncResult` says of records, by task id. */
const readThem = `${python}
def told(id):
    result = app.AsyncResult(id)
    error = None
    value = None
    if result.ready():
        try:
            value = result.get(timeout=5)
        except Exception as raised:
            error = [type(raised).__name__, type(raised).__module__, str(raised)]
    else:
        value = str(result.info) if isinstance(result.info, Exception) else result.info
    return {
        'state': result.state, 'value': value, 'error': error, 'traceback': result.traceback,
        'children': [child.id for child in result.children or []],
        'done': result.date_done.isoformat() if result.date_done else None,
        'name': result.name, 'worker': result.worker, 'queue': result.queue, 'retries': result.retries,
    }
print(json.dumps({id: told(id) for id in given}))
`

/** Stores a record of each state as a worker does. */
const writeThem = `${python}
app.conf.result_extended = True
request = Context(task='py.task', args=[1], kwargs={}, hostname='w1@h1', retries=1, parent_id='parent', group='group',
                  delivery_info={'routing_key': 'py-queue'},
                  _children=[app.AsyncResult('child'), app.GroupResult('g', [app.AsyncResult('m1'), app.AsyncResult('m2')])])
def error(kind, *args):
    try:
        raise kind(*args)
    except Exception as raised:
        return raised
backend.mark_as_started('started', pid=7, hostname='w1@h1')
backend.store_result('progress', {'done': 3}, 'PROGRESS')
backend.mark_as_retry('retry', error(KeyError, 'k'), traceback='Traceback: k')
backend.mark_as_done('success', {'a': [1, None, 'é']}, request=request, store_result=True)
backend.mark_as_done('nan', [float('nan'), 1], store_result=True)
backend.mark_as_failure('failure', error(ValueError, 'boom', 42), traceback='Traceback: boom', store_result=True)
backend.mark_as_revoked('revoked', 'terminated', store_result=True)
print('null')
`

describeWith(['redis-server', 'python'], 'results in Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })

  const run = (script: string, input: unknown = null) => runPython(script, input, { env: { REDIS_URL: server.url } })

  async function openStore({ onTestFinished }: TestContext): Promise<RedisResultStore> {
    const { open, time } = connections()
    onTestFinished(time.close)
    return open(new RedisResultStore(redisClient(server.url, { resultExpiresMs: 600_000 })))
  }

  async function openApp({ onTestFinished }: TestContext): Promise<Celeriac> {
    const app = new Celeriac('results', { broker: server.url, results: true })
    onTestFinished(() => app.close())
    await app.open()
    return app
  }

  it('are read by Python in every state', async (context) => {
    const store = await openStore(context)
    const known = {
      name: 'shop.pick',
      worker: 'w1@h1',
      queue: 'picking',
      rootId: 'root',
      sentAt: 1,
      fence: 3,
      retries: 2,
    }
    const ended = { ...known, dateDone: '2026-11-22T16:20:31.112+00:00', doneAt: 1_795_364_431_112 }
    const error = { exc_type: 'TypeError', exc_message: ['bad'], exc_module: 'builtins' }
    const own = { exc_type: 'OutOfStock', exc_message: ['none left'], exc_module: 'js' }
    const revoked = { exc_type: 'TaskRevokedError', exc_message: ['expired'], exc_module: 'celery.exceptions' }
    const records: ResultRecord[] = [
      resultRecord({ taskId: 'ts-pending', sentAt: 1 }),
      resultRecord({ ...known, taskId: 'ts-started', status: 'STARTED', result: null }),
      resultRecord({ ...known, taskId: 'ts-progress', status: 'PROGRESS', result: { done: 3 } }),
      resultRecord({ ...known, taskId: 'ts-retry', status: 'RETRY', result: own, traceback: 'at pick' }),
      resultRecord({ ...ended, taskId: 'ts-success', status: 'SUCCESS', result: ['é', null], children: ['c1', 'c2'] }),
      resultRecord({ ...ended, taskId: 'ts-failure', status: 'FAILURE', result: error, traceback: 'at pick' }),
      resultRecord({ ...ended, taskId: 'ts-own-error', status: 'FAILURE', result: own }),
      resultRecord({ ...ended, taskId: 'ts-no-error', status: 'FAILURE', result: null }),
      resultRecord({ ...ended, taskId: 'ts-revoked', status: 'REVOKED', result: revoked }),
    ]

    await store.save(records)
    const told = await run(
      readThem,
      records.map(({ taskId }) => taskId),
    )

    const live = { error: null, children: [], done: null, traceback: null }
    const extended = { name: 'shop.pick', worker: 'w1@h1', queue: 'picking', retries: 2 }
    const over = { ...extended, children: [], done: '2026-11-22T16:20:31.112000+00:00', value: null, traceback: null }
    expect(told).toEqual({
      'ts-pending': { ...live, state: 'PENDING', value: null, name: null, worker: null, queue: null, retries: 0 },
      'ts-started': { ...live, ...extended, state: 'STARTED', value: null },
      'ts-progress': { ...live, ...extended, state: 'PROGRESS', value: { done: 3 } },
      'ts-retry': { ...live, ...extended, state: 'RETRY', value: 'none left', traceback: 'at pick' },
      'ts-success': { ...over, state: 'SUCCESS', value: ['é', null], error: null, children: ['c1', 'c2'] },
      'ts-failure': { ...over, state: 'FAILURE', error: ['TypeError', 'builtins', 'bad'], traceback: 'at pick' },
      'ts-own-error': { ...over, state: 'FAILURE', error: ['OutOfStock', 'celery.exceptions', 'none left'] },
      'ts-no-error': { ...over, state: 'FAILURE', error: ['Error', 'celery.exceptions', ''] },
      'ts-revoked': { ...over, state: 'REVOKED', error: ['TaskRevokedError', 'celery.exceptions', 'expired'] },
    })
  })

  it('are heard by a Python process that waits', async (context) => {
    const store = await openStore(context)
    const waiting = run(`${python}
print(json.dumps(app.AsyncResult('awaited').get(timeout=60)))
`)

    // Python subscribes, and looks at the key once; the record is there only for who has subscribed.
    const subscribers = () => raw(server, (redis) => redis.pubsub('NUMSUB', 'celery-task-meta-awaited'))
    await expect.poll(async () => (await subscribers())[1], { timeout: 30_000 }).toBe(1)
    await store.save([resultRecord({ taskId: 'awaited', status: 'STARTED', fence: 1 })])
    await store.save([resultRecord({ taskId: 'awaited', status: 'SUCCESS', result: [1, 'two'], fence: 1 })])

    expect(await waiting).toEqual([1, 'two'])
  })

  it('of Python are read here in every state', async (context) => {
    const app = await openApp(context)
    await run(writeThem)

    const info = async (id: string) => (await app.result(id).info()) ?? expect.fail(`nothing is known of ${id}`)

    expect(await info('started')).toMatchObject({ status: 'STARTED', result: { pid: 7, hostname: 'w1@h1' } })
    expect(await info('progress')).toMatchObject({ status: 'PROGRESS', result: { done: 3 }, dateDone: null })
    expect(await info('retry')).toMatchObject({ status: 'RETRY', traceback: 'Traceback: k' })
    const done = await info('success')
    expect(done).toMatchObject({ name: 'py.task', queue: 'py-queue', worker: 'w1@h1', retries: 1 })
    expect(done).toMatchObject({ parentId: 'parent', groupId: 'group', children: ['child', 'm1', 'm2'] })
    // Written without a zone by Celery 5.2, and meant as UTC.
    expect(Math.abs((done.doneAt ?? 0) - Date.now())).toBeLessThan(120_000)
    expect(await info('failure')).toMatchObject({ traceback: 'Traceback: boom', retries: 0 })

    expect(await app.result('success').get()).toEqual({ a: [1, null, 'é'] })
    expect(await app.result('nan').get()).toEqual([null, 1])
    await expect(app.result('failure').get()).rejects.toMatchObject({
      code: 'TASK_FAILED',
      type: 'ValueError',
      message: 'boom, 42',
      traceback: 'Traceback: boom',
    })
    await expect(app.result('revoked').get()).rejects.toMatchObject({ code: 'TASK_REVOKED' })
  })

  it('of Python are heard here by who waits', async (context) => {
    const app = await openApp(context)
    const seen: string[] = []
    const watching = (async () => {
      for await (const { status } of app.result('heard').watch()) seen.push(status)
    })()
    const subscribers = () => raw(server, (redis) => redis.pubsub('NUMSUB', 'celery-task-meta-heard'))
    await expect.poll(async () => (await subscribers())[1]).toBe(1)

    await run(`${python}
backend.mark_as_started('heard', pid=1)
backend.mark_as_done('heard', 5, store_result=True)
print('null')
`)
    await watching

    expect(seen).toEqual(['STARTED', 'SUCCESS'])
  })

  it('that are SUCCESS are not replaced by Python', async (context) => {
    const store = await openStore(context)
    await store.save([resultRecord({ taskId: 'ours', status: 'SUCCESS', result: 'ours', fence: 1 })])

    await run(`${python}
backend.mark_as_failure('ours', ValueError('late'), store_result=True)
print('null')
`)

    expect((await store.load(['ours']))[0]).toMatchObject({ status: 'SUCCESS', result: 'ours' })
  })

  /** A member of a chord ends, as a Python worker tells it. Prints how many messages the body's queue then has. */
  const endMember = `${python}
body = app.signature('py.sum', queue=given['group'])
request = Context(id=given['id'], group=given['group'], group_index=given['index'], chord=body)
backend.on_chord_part_return(request, 'SUCCESS', given['value'])
print(json.dumps([json.loads(message) for message in backend.client.lrange(given['group'], 0, -1)]))
`

  it("of a chord's members are joined by Python when its member is the last", async (context) => {
    const store = await openStore(context)
    await store.join('mixed', { part: { memberId: 'a', index: 1, state: 'SUCCESS', result: ['é', 1] }, size: 2 })

    const messages = await run(endMember, { id: 'b', group: 'mixed', index: 0, value: 7 })

    const [{ body }] = messages as [{ body: string }]
    const [args] = JSON.parse(Buffer.from(body, 'base64').toString()) as [unknown]
    expect(args).toEqual([[7, ['é', 1]]])
    expect(await store.join('mixed', {})).toEqual({ joined: 0, size: undefined, parts: undefined })
  })

  it("of a chord's members are joined here when ours is the last", async (context) => {
    const store = await openStore(context)
    await run(`${python}
backend.set_chord_size('reverse', 2)
print('null')
`)
    await run(endMember, { id: 'a', group: 'reverse', index: 0, value: { sum: 7 } })

    const progress = await store.join('reverse', { part: { memberId: 'b', index: 1, state: 'SUCCESS', result: 1 } })

    expect(progress.parts).toEqual([
      { memberId: 'a', index: 0, state: 'SUCCESS', result: { sum: 7 } },
      { memberId: 'b', index: 1, state: 'SUCCESS', result: 1 },
    ])
  })

  it('of a chord are counted once by Python when a member ran in both languages', async (context) => {
    const store = await openStore(context)
    const value = { ключ: ['é', null, true, 1.5, {}] }
    await store.join('both', { part: { memberId: 'a', index: 0, state: 'SUCCESS', result: value }, size: 2 })

    await run(endMember, {
      id: 'a',
      group: 'both',
      index: 0,
      value,
    })

    expect((await store.join('both', {})).joined).toBe(1)
  })
})
