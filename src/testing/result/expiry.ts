import { expect } from 'vitest'
import { type Declare, uniqueName } from '../contract.ts'
import { resultRecord } from '../result-record.ts'
import type { ResultFixture } from './fixture.ts'

const expiresMs = 1_000

/** Records that go when their time is over. */
export function expiry(declare: Declare<ResultFixture>): void {
  declare('keeps a record for its time, and no longer', async ({ peer, advance }) => {
    const store = await peer({ expiresMs })
    const taskId = uniqueName('task')
    await store.save([resultRecord({ taskId })])

    await advance(expiresMs / 2)
    expect((await store.load([taskId]))[0]?.taskId).toBe(taskId)
    await advance(expiresMs / 2 + 50)

    expect(await store.load([taskId])).toEqual([undefined])
  })

  declare('counts the time from the last save', async ({ peer, advance }) => {
    const store = await peer({ expiresMs })
    const taskId = uniqueName('task')
    await store.save([resultRecord({ taskId, status: 'STARTED', fence: 1 })])
    await advance(0.6 * expiresMs)

    await store.save([resultRecord({ taskId, status: 'SUCCESS', fence: 1 })])
    await advance(0.6 * expiresMs)

    expect((await store.load([taskId]))[0]?.status).toBe('SUCCESS')
  })

  declare('lets an expired record be followed by any other', async ({ peer, advance }) => {
    const store = await peer({ expiresMs })
    const taskId = uniqueName('task')
    await store.save([resultRecord({ taskId, status: 'SUCCESS', fence: 5 })])
    await advance(expiresMs + 50)

    await store.save([resultRecord({ taskId, status: 'PENDING', fence: 0 })])

    expect((await store.load([taskId]))[0]?.status).toBe('PENDING')
  })

  declare('removes what is over when told to, and nothing else', async ({ peer, advance }) => {
    const store = await peer({ expiresMs })
    const [old, young] = [uniqueName('old'), uniqueName('young')]
    await store.save([resultRecord({ taskId: old })])
    await advance(0.7 * expiresMs)
    await store.save([resultRecord({ taskId: young })])
    await advance(0.4 * expiresMs)

    // How many went is not certain: stores remove what is over by themselves too.
    expect(await store.expire()).toBeLessThanOrEqual(1)

    expect((await store.load([old, young])).map((record) => record?.taskId)).toEqual([undefined, young])
    expect(await store.expire()).toBe(0)
  })

  declare('lets no joins pile up: an unfinished one begins anew after its time', async ({ peer, advance }) => {
    const store = await peer({ expiresMs })
    const group = uniqueName('group')
    await store.join(group, { part: { memberId: 'a', index: 0, state: 'SUCCESS', result: 1 }, size: 2 })
    await advance(expiresMs + 50)
    await store.expire()

    const progress = await store.join(group, { part: { memberId: 'b', index: 1, state: 'SUCCESS', result: 2 } })

    expect(progress.joined).toBe(1)
  })
}
