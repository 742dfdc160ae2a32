/** What a load test makes of the events of its tasks, in whatever order they come. */
import { describe, expect, it } from 'vitest'
import { CallTally } from '../../src/bench/call-tally.ts'
import type { ReceivedEvent } from '../../src/events/received-event.ts'

const flow = { rootId: 'a', lastId: 'b', intendedMs: 1_000, sentMs: 1_000 }
let clock = 0

function event(type: string, uuid: string, atMs: number, fields: object = {}): ReceivedEvent {
  clock += 1
  return { type, uuid, hostname: `${uuid}@here`, pid: 1, clock, timestamp: atMs / 1_000, ...fields } as ReceivedEvent
}

describe('the wait of a step', () => {
  it.each(['before', 'after'])('is known where the step before is heard to end late, %s the flow has ended', (when) => {
    const calls = new CallTally(() => 'celery')
    calls.sent(flow)
    calls.apply(event('task-received', 'a', 1_005, { name: 'pick', root_id: 'a' }))
    calls.apply(event('task-started', 'a', 1_010))
    calls.apply(event('task-received', 'b', 1_025, { name: 'pack', root_id: 'a', parent_id: 'a' }))
    if (when === 'after') calls.ended(flow)
    calls.apply(event('task-started', 'b', 1_030))
    calls.apply(event('task-succeeded', 'b', 1_040, { runtime: 0.01 }))
    if (when === 'before') calls.ended(flow)
    calls.apply(event('task-succeeded', 'a', 1_020, { runtime: 0.01 }))

    const [pick, pack] = calls.stages
    expect(pick?.wait.summary).toMatchObject({ count: 1, maxMs: 10 })
    expect(pack?.wait.summary).toMatchObject({ count: 1, maxMs: 10 })
  })
})
