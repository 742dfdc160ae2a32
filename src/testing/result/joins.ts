import { expect } from 'vitest'
import type { JoinPart } from '../../result/result-store.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import type { ResultFixture } from './fixture.ts'

function part(index: number, result: unknown = `value ${index}`): JoinPart {
  return { memberId: `member-${index}`, index, state: 'SUCCESS', result }
}

/** Joins: the parts of a group's members, gathered until all have come. */
export function joins(declare: Declare<ResultFixture>): void {
  declare('counts parts until the join is complete, and returns them then', async ({ store }) => {
    const group = uniqueName('group')

    expect(await store.join(group, { size: 2 })).toEqual({ joined: 0, size: 2, parts: undefined })
    expect(await store.join(group, { part: part(0) })).toEqual({ joined: 1, size: 2, parts: undefined })
    expect(await store.join(group, { part: part(1) })).toEqual({ joined: 2, size: 2, parts: [part(0), part(1)] })
  })

  declare('completes when the size is told after the parts', async ({ store }) => {
    const group = uniqueName('group')

    expect(await store.join(group, { part: part(0) })).toEqual({ joined: 1, size: undefined, parts: undefined })
    await store.join(group, { part: part(1) })

    expect(await store.join(group, { size: 2 })).toEqual({ joined: 2, size: 2, parts: [part(0), part(1)] })
  })

  declare('takes a part and the size in one call', async ({ store }) => {
    const progress = await store.join(uniqueName('group'), { part: part(0), size: 1 })

    expect(progress).toEqual({ joined: 1, size: 1, parts: [part(0)] })
  })

  declare('counts a member that joins twice once', async ({ store, peer }) => {
    const group = uniqueName('group')
    await store.join(group, { part: part(0), size: 2 })

    const again = await (await peer()).join(group, { part: part(0) })

    expect(again).toEqual({ joined: 1, size: 2, parts: undefined })
    expect((await store.join(group, { part: part(1) })).parts).toEqual([part(0), part(1)])
  })

  declare('tells members apart by their id, not by their index', async ({ store }) => {
    const group = uniqueName('group')
    await store.join(group, { part: { ...part(0), memberId: 'a' }, size: 2 })

    const progress = await store.join(group, { part: { ...part(0), memberId: 'b' } })

    expect(progress.parts?.map(({ memberId }) => memberId).sort()).toEqual(['a', 'b'])
  })

  declare('orders parts by their index as a number, however they came', async ({ store, peer }) => {
    const group = uniqueName('group')
    const elsewhere = await peer()
    const indexes = [11, 2, 0, 10, 7, 1, 9, 3, 8, 4, 6, 5]
    await store.join(group, { size: 12 })

    for (const index of indexes) await (index % 2 === 0 ? store : elsewhere).join(group, { part: part(index) })

    expect((await store.join(group, {})).parts?.map(({ index }) => index)).toEqual(range(12))
  })

  declare('returns the parts whenever it is complete, until it is closed', async ({ store, peer }) => {
    const group = uniqueName('group')
    await store.join(group, { part: part(0), size: 2 })
    await store.join(group, { part: part(1) })

    expect((await store.join(group, {})).parts).toHaveLength(2)
    expect((await (await peer()).join(group, { part: part(1) })).parts).toHaveLength(2)
    await store.closeJoin(group)

    expect((await store.join(group, {})).parts).toBeUndefined()
    expect((await (await peer()).join(group, { part: part(1) })).parts).toBeUndefined()
    expect((await store.join(group, { size: 2 })).parts).toBeUndefined()
  })

  declare('closes twice, or what was never begun, without harm', async ({ store }) => {
    const group = uniqueName('group')
    await store.join(group, { part: part(0), size: 1 })

    await store.closeJoin(group)
    await store.closeJoin(group)
    await store.closeJoin(uniqueName('unknown'))

    expect((await store.join(group, {})).parts).toBeUndefined()
  })

  declare('keeps states and values of parts', async ({ store, peer }) => {
    const group = uniqueName('group')
    const parts: JoinPart[] = [
      { memberId: 'a', index: 0, state: 'SUCCESS', result: null },
      { memberId: 'b', index: 1, state: 'FAILURE', result: { exc_type: 'TypeError', exc_message: ['苹果', null] } },
      { memberId: 'c', index: 2, state: 'SUCCESS', result: { nested: [[1], {}, false, 0, ''] } },
      { memberId: 'd', index: 3, state: 'SUCCESS', result: 'é'.repeat(100_000) },
    ]

    for (const one of parts) await store.join(group, { part: one })

    expect((await (await peer()).join(group, { size: 4 })).parts).toEqual(parts)
  })

  declare('counts every member when many join at once on several connections', async ({ store, peer }) => {
    const group = uniqueName('group')
    const stores = [store, await peer(), await peer()]
    await store.join(group, { size: 60 })

    const progress = await Promise.all(range(60).map((n) => (stores[n % 3] ?? store).join(group, { part: part(n) })))

    expect(progress.filter(({ parts }) => parts !== undefined)).not.toHaveLength(0)
    expect(await store.join(group, {})).toEqual({ joined: 60, size: 60, parts: range(60).map((n) => part(n)) })
  })

  declare('keeps groups apart', async ({ store }) => {
    const [left, right] = [uniqueName('left'), uniqueName('right')]
    await store.join(left, { part: part(0), size: 2 })

    expect(await store.join(right, { part: part(1) })).toEqual({ joined: 1, size: undefined, parts: undefined })
  })

  declare('tells the first member that failed, until that succeeds after all', async ({ store, peer }) => {
    const group = uniqueName('group')
    const failed = (index: number): JoinPart => ({ ...part(index, { exc_type: 'Error' }), state: 'FAILURE' })
    await store.join(group, { part: part(0), size: 3 })

    const first = await store.join(group, { part: failed(1) })
    const second = await (await peer()).join(group, { part: failed(2) })
    const again = await store.join(group, { part: failed(1) })
    const mended = await store.join(group, { part: part(1) })

    expect([first.failed, second.failed, again.failed]).toEqual(['member-1', 'member-1', 'member-1'])
    expect(second).toMatchObject({ joined: 3, size: 3 })
    expect(mended.failed).toBeUndefined()
    expect(mended.parts?.map(({ state }) => state)).toEqual(['SUCCESS', 'SUCCESS', 'FAILURE'])
    expect((await store.join(group, { part: part(2) })).parts).toEqual([part(0), part(1), part(2)])
  })

  declare('never lets a failure take the place of a success', async ({ store }) => {
    const group = uniqueName('group')
    await store.join(group, { part: part(0), size: 1 })

    const progress = await store.join(group, { part: { ...part(0, null), state: 'FAILURE' } })

    expect(progress).toEqual({ joined: 1, size: 1, parts: [part(0)], failed: undefined })
  })

  declare('waits for members that others bring along, and counts these once', async ({ store, peer }) => {
    const group = uniqueName('group')
    await store.join(group, { size: 1 })

    const grown = await store.join(group, { part: { ...part(0), added: 2 } })
    await (await peer()).join(group, { part: { ...part(0), added: 2 } })
    await store.join(group, { part: part(1) })

    expect(grown).toMatchObject({ joined: 1, size: 3, parts: undefined })
    expect((await store.join(group, { part: part(2) })).parts).toHaveLength(3)
  })

  declare('tells which joins are open, the oldest first', async ({ store, peer }) => {
    const [first, second, closed] = [uniqueName('first'), uniqueName('second'), uniqueName('closed')]
    await store.join(first, { size: 2 })
    await store.join(second, { part: { ...part(0), state: 'FAILURE' } })
    await store.join(closed, { size: 1 })
    await store.closeJoin(closed)

    const open = (await (await peer()).openJoins(1_000)).filter(({ groupId }) =>
      [first, second, closed].includes(groupId),
    )

    expect(open).toEqual([
      { groupId: first, joined: 0, size: 2, failed: undefined },
      { groupId: second, joined: 1, size: undefined, failed: 'member-0' },
    ])
  })

  declare('keeps who belongs to a group', async ({ store, peer }) => {
    const id = uniqueName('group')
    const members = ['a', { groupId: 'inner', members: ['b', 'c'] }]
    const group = { groupId: id, members, starts: ['x', 'b', 'c'], bodyId: 'body' }

    await store.saveGroups([group])
    await store.saveGroups([{ ...group, groupId: `${id}-2`, bodyId: null }], true)

    expect(await (await peer()).loadGroup(id)).toEqual(group)
    expect(await store.loadGroup(`${id}-2`)).toEqual({ ...group, groupId: `${id}-2`, bodyId: null })
    expect(await store.loadGroup(uniqueName('nobody'))).toBeUndefined()
  })
}
