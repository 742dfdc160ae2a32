import { expect } from 'vitest'
import type { ResultRecord, ResultStore } from '../../result/result-store.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import { resultRecord } from '../result-record.ts'
import type { ResultFixture } from './fixture.ts'

interface Ear {
  readonly heard: ResultRecord[]
  close(): Promise<void>
}

async function listen(store: ResultStore, ...taskIds: string[]): Promise<Ear> {
  const heard: ResultRecord[] = []
  const subscription = await store.subscribe(taskIds, (record) => heard.push(record))
  return { heard, close: () => subscription.close() }
}

/** Records told as they are saved. */
export function subscriptions(declare: Declare<ResultFixture>): void {
  declare('tells who subscribed before of a save', async ({ store }) => {
    const record = resultRecord({ taskId: uniqueName('task'), status: 'SUCCESS', result: { picked: [1, null] } })
    const ear = await listen(store, record.taskId)

    await store.save([record])

    await expect.poll(() => ear.heard).toEqual([record])
  })

  declare('tells of saves on other connections', async ({ store, peer }) => {
    const record = resultRecord({ taskId: uniqueName('task'), status: 'SUCCESS', fence: 1 })
    const ears = [await listen(await peer(), record.taskId), await listen(await peer(), record.taskId)]

    await store.save([record])

    for (const ear of ears) await expect.poll(() => ear.heard).toEqual([record])
  })

  declare('tells the newest record of each task last', async ({ store, peer }) => {
    const taskId = uniqueName('task')
    const ear = await listen(await peer(), taskId)

    await store.save([resultRecord({ taskId, status: 'STARTED', fence: 1 })])
    await store.save([resultRecord({ taskId, status: 'RETRY', fence: 1 })])
    await store.save([resultRecord({ taskId, status: 'SUCCESS', fence: 2 })])

    await expect.poll(() => ear.heard.at(-1)?.status).toBe('SUCCESS')
    const fences = ear.heard.map((record) => record.fence)
    expect(fences).toEqual([...fences].sort((a, b) => a - b))
  })

  declare('tells nothing of records that were passed over', async ({ store, peer }) => {
    const taskId = uniqueName('task')
    const ear = await listen(await peer(), taskId)

    await store.save([resultRecord({ taskId, status: 'STARTED', fence: 2 })])
    await store.save([resultRecord({ taskId, status: 'FAILURE', fence: 1 })])
    await store.save([resultRecord({ taskId, status: 'SUCCESS', fence: 2 })])

    await expect.poll(() => ear.heard.at(-1)?.status).toBe('SUCCESS')
    expect(ear.heard.map((record) => record.status)).not.toContain('FAILURE')
  })

  declare('tells one subscription of many tasks, and of no others', async ({ store, peer }) => {
    const ids = range(500).map((n) => uniqueName(`task-${n}`))
    const ear = await listen(await peer(), ...ids)

    await store.save([resultRecord({ taskId: uniqueName('other') })])
    await store.save(ids.map((taskId) => resultRecord({ taskId })))

    await expect.poll(() => ear.heard.length).toBe(ids.length)
    expect(new Set(ear.heard.map((record) => record.taskId))).toEqual(new Set(ids))
  })

  declare('tells a closed subscription nothing more', async ({ store, peer }) => {
    const taskId = uniqueName('task')
    const elsewhere = await peer()
    const leaving = await listen(elsewhere, taskId)
    const staying = await listen(elsewhere, taskId)

    await leaving.close()
    await leaving.close()
    await store.save([resultRecord({ taskId })])

    await expect.poll(() => staying.heard.length).toBe(1)
    expect(leaving.heard).toEqual([])
  })

  declare('leaves no save between a subscription and a load unnoticed', async ({ store, peer }) => {
    const elsewhere = await peer()

    for (const _ of range(20)) {
      const taskId = uniqueName('task')
      const saving = elsewhere.save([resultRecord({ taskId, status: 'SUCCESS' })])
      const ear = await listen(store, taskId)
      const [loaded] = await store.load([taskId])
      await saving

      await expect.poll(() => loaded !== undefined || ear.heard.length > 0).toBe(true)
    }
  })

  declare('gives each listener a record of its own', async ({ store }) => {
    const taskId = uniqueName('task')
    await store.subscribe([taskId], (record) => {
      ;(record.result as string[]).push('changed')
    })
    const ear = await listen(store, taskId)

    await store.save([resultRecord({ taskId, result: [] })])

    await expect.poll(() => ear.heard.map((record) => record.result)).toEqual([[]])
    expect((await store.load([taskId]))[0]?.result).toEqual([])
  })

  declare('ends its subscriptions when it closes', async ({ store, peer }) => {
    const taskId = uniqueName('task')
    const elsewhere = await peer()
    const closed = await listen(store, taskId)
    const open = await listen(elsewhere, taskId)

    await store.close()
    await elsewhere.save([resultRecord({ taskId })])

    await expect.poll(() => open.heard.length).toBe(1)
    expect(closed.heard).toEqual([])
  })
}
