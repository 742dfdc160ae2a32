import { expect } from 'vitest'
import type { ResultRecord, ResultStore } from '../../result/result-store.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import { resultRecord } from '../result-record.ts'
import type { ResultFixture } from './fixture.ts'

async function loadOne(store: ResultStore, taskId: string): Promise<ResultRecord | undefined> {
  const [record] = await store.load([taskId])
  return record
}

/** What is kept of a task, and which record replaces which. */
export function records(declare: Declare<ResultFixture>): void {
  declare('loads a record as it was saved, on every connection', async ({ store, peer }) => {
    const record = resultRecord({
      taskId: uniqueName('task'),
      status: 'FAILURE',
      result: { exc_type: 'TypeError', exc_message: ['bad', 1, null], exc_module: 'builtins' },
      traceback: 'TypeError: bad\n    at pick (app.ts:1:1)',
      children: ['a', 'b'],
      dateDone: '2025-01-01T12:00:00.123+00:00',
      parentId: 'parent',
      rootId: 'root',
      groupId: 'group',
      name: 'warehouse.pick',
      queue: 'picking',
      worker: 'worker1@host',
      retries: 2,
      sentAt: 1_735_732_800_000,
      startedAt: 1_735_732_800_001,
      doneAt: 1_735_732_800_123,
      fence: 3,
    })

    await store.save([record])

    expect(await loadOne(store, record.taskId)).toEqual(record)
    expect(await loadOne(await peer(), record.taskId)).toEqual(record)
  })

  declare(
    'keeps results for whoever asks: it has no address of its own, and keeps none of a sender',
    async ({ store }) => {
      const record = resultRecord({ taskId: uniqueName('task'), replyTo: 'somebody' })

      await store.save([record])

      expect(store.replyTo).toBeUndefined()
      expect(await loadOne(store, record.taskId)).toEqual({ ...record, replyTo: null })
    },
  )

  declare('loads null where nothing is known', async ({ store }) => {
    const record = resultRecord({ taskId: uniqueName('task') })

    await store.save([record])

    expect(await loadOne(store, record.taskId)).toEqual(record)
  })

  const values: Record<string, unknown> = {
    null: null,
    'false and zero': [false, 0, ''],
    numbers: [1, -1.5, 1e300, Number.MAX_SAFE_INTEGER],
    unicode: 'Zoë – 苹果 🍏 \u2028 \u0000',
    'nested JSON': { a: [{ b: { c: [[], {}, null, 'd'] } }] },
    'a megabyte': 'é'.repeat(512 * 1024),
  }
  for (const [name, value] of Object.entries(values)) {
    declare(`keeps a value: ${name}`, async ({ store, peer }) => {
      const taskId = uniqueName('task')

      await store.save([resultRecord({ taskId, status: 'SUCCESS', result: value })])

      const loaded = await loadOne(await peer(), taskId)
      expect(JSON.stringify(loaded?.result) === JSON.stringify(value)).toBe(true)
    })
  }

  declare("keeps a state of the task's own", async ({ store }) => {
    const record = resultRecord({ taskId: uniqueName('task'), status: 'PROGRESS', result: { done: 3, of: 10 } })

    await store.save([record])

    expect(await loadOne(store, record.taskId)).toEqual(record)
  })

  declare('keeps what was saved, whatever is done to the objects afterwards', async ({ store }) => {
    const taskId = uniqueName('task')
    const result = { list: ['before'] }

    await store.save([resultRecord({ taskId, status: 'SUCCESS', result })])
    result.list[0] = 'after'
    const loaded = await loadOne(store, taskId)
    expect(loaded?.result).toEqual({ list: ['before'] })
    Object.assign(loaded?.result as typeof result, { list: ['after'] })

    expect((await loadOne(store, taskId))?.result).toEqual({ list: ['before'] })
  })

  declare('loads in the order of the ids, undefined where nothing is known', async ({ store }) => {
    const [a, b, unknown] = [uniqueName('a'), uniqueName('b'), uniqueName('unknown')]
    await store.save([resultRecord({ taskId: a }), resultRecord({ taskId: b })])

    const loaded = await store.load([b, unknown, a, b])

    expect(loaded.map((record) => record?.taskId)).toEqual([b, undefined, a, b])
    expect(loaded).toHaveLength(4)
  })

  declare('saves and loads nothing, and thousands', async ({ store }) => {
    const ids = range(3_000).map((n) => uniqueName(`many-${n}`))

    await store.save([])
    await store.save(ids.map((taskId) => resultRecord({ taskId })))

    expect(await store.load([])).toEqual([])
    expect((await store.load(ids)).map((record) => record?.taskId)).toEqual(ids)
  })

  declare('forgets records, and no others', async ({ store, peer }) => {
    const [gone, kept] = [uniqueName('gone'), uniqueName('kept')]
    await store.save([resultRecord({ taskId: gone, fence: 5 }), resultRecord({ taskId: kept })])

    await store.forget([gone, uniqueName('unknown')])

    expect((await (await peer()).load([gone, kept])).map((record) => record?.taskId)).toEqual([undefined, kept])
    await store.save([resultRecord({ taskId: gone, fence: 1 })])
    expect((await loadOne(store, gone))?.fence).toBe(1)
  })

  interface Replacement {
    readonly promise: string
    readonly stored: Partial<ResultRecord>
    readonly saved: Partial<ResultRecord>
    readonly replaces: boolean
  }
  const replacements: Replacement[] = [
    {
      promise: 'replaces a record by a later one of the same attempt',
      stored: { status: 'STARTED', fence: 1 },
      saved: { status: 'FAILURE', fence: 1 },
      replaces: true,
    },
    {
      promise: 'replaces a record by one of a newer attempt',
      stored: { status: 'RETRY', fence: 1 },
      saved: { status: 'STARTED', fence: 2 },
      replaces: true,
    },
    {
      promise: 'passes a record of an older attempt over',
      stored: { status: 'STARTED', fence: 2 },
      saved: { status: 'FAILURE', fence: 1 },
      replaces: false,
    },
    {
      promise: 'passes SUCCESS of an older attempt over, once a newer one has begun',
      stored: { status: 'STARTED', fence: 2 },
      saved: { status: 'SUCCESS', fence: 1 },
      replaces: false,
    },
    {
      promise: 'passes PENDING over that is saved after the first run',
      stored: { status: 'SUCCESS', fence: 1 },
      saved: { status: 'PENDING', fence: 0 },
      replaces: false,
    },
    {
      promise: 'replaces SUCCESS by nothing of the same attempt',
      stored: { status: 'SUCCESS', fence: 1 },
      saved: { status: 'FAILURE', fence: 1 },
      replaces: false,
    },
    {
      promise: 'replaces SUCCESS not even by SUCCESS of the same attempt',
      stored: { status: 'SUCCESS', result: 'first', fence: 1 },
      saved: { status: 'SUCCESS', result: 'second', fence: 1 },
      replaces: false,
    },
    {
      promise: 'replaces SUCCESS by whatever a newer attempt says, as after a redrive',
      stored: { status: 'SUCCESS', fence: 1 },
      saved: { status: 'STARTED', fence: 2 },
      replaces: true,
    },
    {
      promise: 'replaces FAILURE by SUCCESS of the same attempt',
      stored: { status: 'FAILURE', fence: 1 },
      saved: { status: 'SUCCESS', fence: 1 },
      replaces: true,
    },
  ]
  for (const { promise, stored, saved, replaces } of replacements) {
    declare(promise, async ({ store, peer }) => {
      const taskId = uniqueName('task')
      const old = resultRecord({ taskId, ...stored })
      const later = resultRecord({ taskId, ...saved })

      await store.save([old])
      await (await peer()).save([later])

      expect(await loadOne(store, taskId)).toEqual(replaces ? later : old)
    })

    declare(`${promise}, in one save too`, async ({ store }) => {
      const taskId = uniqueName('task')
      const old = resultRecord({ taskId, ...stored })
      const later = resultRecord({ taskId, ...saved })

      await store.save([old, later])

      expect(await loadOne(store, taskId)).toEqual(replaces ? later : old)
    })
  }

  declare('stores the others of a save in which one is passed over', async ({ store }) => {
    const [outdated, fresh] = [uniqueName('outdated'), uniqueName('fresh')]
    await store.save([resultRecord({ taskId: outdated, status: 'SUCCESS', fence: 2 })])

    await store.save([
      resultRecord({ taskId: outdated, status: 'FAILURE', fence: 1 }),
      resultRecord({ taskId: fresh, status: 'SUCCESS', fence: 1 }),
    ])

    expect((await store.load([outdated, fresh])).map((record) => record?.status)).toEqual(['SUCCESS', 'SUCCESS'])
  })

  declare('shares no storage with an object that is not its broker', async ({ store }) => {
    expect(store.sharesStorageWith({})).toBe(false)
  })

  declare('keeps its records when every connection is closed and another opened', async ({ store, peer }) => {
    const taskId = uniqueName('task')
    await store.save([resultRecord({ taskId })])

    await store.close()

    expect((await loadOne(await peer(), taskId))?.taskId).toBe(taskId)
  })

  declare('refuses use after it was closed', async ({ store }) => {
    const taskId = uniqueName('task')
    await store.close()

    const closed = { code: 'CLOSED' }
    await expect(store.save([resultRecord({ taskId })])).rejects.toMatchObject(closed)
    await expect(store.load([taskId])).rejects.toMatchObject(closed)
    await expect(store.subscribe([taskId], () => {})).rejects.toMatchObject(closed)
    await expect(store.forget([taskId])).rejects.toMatchObject(closed)
    await expect(store.join(taskId, { size: 1 })).rejects.toMatchObject(closed)
    await expect(store.closeJoin(taskId)).rejects.toMatchObject(closed)
    await expect(store.expire()).rejects.toMatchObject(closed)
  })

  declare('closes twice without harm', async ({ store }) => {
    await Promise.all([store.close(), store.close()])
    await store.close()
  })
}
