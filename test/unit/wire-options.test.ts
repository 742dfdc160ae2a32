import { describe, expect, it } from 'vitest'
import { callOptionsOf, stampsOf, turnedPriority } from '../../src/send/wire-options.ts'

const read = (options: Parameters<typeof callOptionsOf>[0], unsetPriority = 0) =>
  callOptionsOf(options, unsetPriority, (name) => name === 'json')

describe('options that travel in a signature', () => {
  it('are those of a call, in its words', () => {
    expect(
      read({
        task_id: 'a',
        queue: 'q',
        countdown: 5,
        expires: 60,
        time_limit: 30,
        soft_time_limit: 20.5,
        ignore_result: true,
      }),
    ).toEqual({
      taskId: 'a',
      queue: 'q',
      countdown: 5,
      expires: 60,
      timeLimit: 30,
      softTimeLimit: 20.5,
      ignoreResult: true,
    })
  })

  it('have dates, in UTC where they name no zone', () => {
    expect(read({ eta: '2030-01-02T03:04:05', expires: '2030-01-02T03:04:05+01:00' })).toEqual({
      eta: new Date('2030-01-02T03:04:05Z'),
      expires: new Date('2030-01-02T02:04:05Z'),
    })
  })

  it('say priorities as the wire does, which on Redis counts down', () => {
    expect(read({ priority: 2 }, 0)).toEqual({ priority: 2 })
    expect(read({ priority: 2 }, 9)).toEqual({ priority: 7 })
    for (const unset of [0, 9]) expect(turnedPriority(turnedPriority(3, unset), unset)).toBe(3)
  })

  it('keep what can be done here: known serializers and compressions, headers of the caller’s own', () => {
    expect(read({ serializer: 'json', compression: 'zlib', headers: { tenant: 'acme', retries: 7 } })).toEqual({
      serializer: 'json',
      compression: 'gzip',
      headers: { tenant: 'acme' },
    })
    expect(read({ serializer: 'pickle', compression: 'bzip2' })).toEqual({})
  })

  it('may be null or of odd types, which says nothing', () => {
    const odd = { task_id: null, queue: null, priority: 'high', countdown: null, eta: 7, expires: null, headers: [] }

    expect(read(odd as never)).toEqual({})
  })

  it('have stamps by their names', () => {
    expect(stampsOf({ stamped_headers: ['batch', 'gone'], batch: ['b1'], other: 1 })).toEqual({
      batch: ['b1'],
      gone: null,
    })
    expect(stampsOf({ stamped_headers: [] })).toBeNull()
    expect(stampsOf({})).toBeNull()
  })
})
