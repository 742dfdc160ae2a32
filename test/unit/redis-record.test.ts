/** Records and parts of joins in Celery's form, held against what Python wrote (`test/fixtures/celery-runs/`). */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { decodePart, encodePart } from '../../src/drivers/redis/result-part.ts'
import { decodeRecord, encodeRecord } from '../../src/drivers/redis/result-record.ts'
import type { ResultRecord } from '../../src/result/result-store.ts'
import { resultRecord } from '../../src/testing/result-record.ts'

interface Run {
  readonly commands: readonly { readonly db: number; readonly cmd: readonly string[] }[]
}

function commands(run: string, name: string): string[][] {
  const url = new URL(`../fixtures/celery-runs/run-redis-${run}.json`, import.meta.url)
  const { commands } = JSON.parse(readFileSync(url, 'utf8')) as Run
  return commands.filter(({ db, cmd }) => db === 1 && cmd[0] === name).map(({ cmd }) => [...cmd])
}

/** The records Python stored in a run, in order. */
function records(run: string): ResultRecord[] {
  return commands(run, 'SETEX').flatMap(([, key = '', , text = '']) => {
    const [, taskId] = /^celery-task-meta-(.*)$/.exec(key) ?? []
    if (taskId === undefined) return []
    return [decodeRecord(taskId, text) ?? expect.fail(`unread: ${text}`)]
  })
}

const full = resultRecord({
  taskId: 'id-1',
  status: 'SUCCESS',
  result: { n: [1, null] },
  traceback: null,
  children: ['a', 'b'],
  dateDone: '2026-11-22T16:20:31.112+00:00',
  parentId: 'parent',
  rootId: 'root',
  groupId: 'group',
  name: 'shop.pick',
  queue: 'picking',
  worker: 'w1@h1',
  retries: 2,
  sentAt: 1,
  startedAt: 2,
  doneAt: 3,
  fence: 3,
})

describe("Python's records", () => {
  it.each([
    ['5.2.6', 'without a zone', '5.2.6-success', /^\S+T16:38:48\.503272\+00:00$/],
    ['5.4.0', 'with one', '5.4.0-success', /^\S+T16:39:57\.720704\+00:00$/],
  ])('are read with the dates of %s, %s', (_version, _form, run, date) => {
    const [record] = records(run)

    expect(record).toMatchObject({ status: 'SUCCESS', result: 5, traceback: null, children: [] })
    expect(record?.dateDone).toMatch(date)
    expect(record?.doneAt).toBe(Date.parse(record?.dateDone ?? ''))
  })

  it('give their errors with type, arguments and module, and the traceback', () => {
    const [record] = records('5.6.3-failure-custom')

    expect(record?.result).toEqual({ exc_type: 'Custom.Inner', exc_message: ['x', { a: 1 }], exc_module: 'lab' })
    expect(record?.traceback).toMatch(/^Traceback \(most recent call last\)/)
  })

  it('give name, queue, worker and retries where `result_extended` is on', () => {
    const [started, done] = records('5.6.3-extended-tracked-sent')

    expect(started).toMatchObject({ status: 'STARTED', dateDone: null, doneAt: null })
    expect(done).toMatchObject({ name: 'lab.add', queue: 'celery', worker: 'w2@h1', retries: 0, result: 5 })
  })

  it("give a state of the task's own with its meta", () => {
    expect(records('5.6.3-progress')[0]).toMatchObject({ status: 'PROGRESS', result: { cur: 1 }, dateDone: null })
  })

  it('are REVOKED with null for children, and with a list', () => {
    const revoked = records('5.6.3-revoke-terminate')

    expect(revoked.map(({ status }) => status)).toEqual(['REVOKED', 'REVOKED'])
    expect(revoked.map(({ children }) => children)).toEqual([[], []])
    expect(revoked[1]?.result).toMatchObject({ exc_type: 'TaskRevokedError', exc_message: ['terminated'] })
  })

  it('give the ids of children, those of a group flat', () => {
    const [parent, child] = records('5.6.3-parent-children')
    expect(parent?.children).toEqual([child?.taskId])
    expect(child?.parentId).toBe(parent?.taskId)

    const chord = records('5.6.3-chain-group-task')
    const members = chord.filter(({ groupId, result }) => groupId !== null && result !== 10).map(({ taskId }) => taskId)
    expect(members).toHaveLength(2)
    expect(chord.find(({ children }) => children.length > 0)?.children).toEqual(members)
  })

  it('name a retried task neither as its own child nor as its own parent', () => {
    const retries = records('5.6.3-retry')

    expect(retries.map(({ status }) => status)).toEqual(['RETRY', 'RETRY', 'FAILURE'])
    for (const record of retries) {
      expect(record).toMatchObject({ children: [], parentId: null })
    }
  })

  it('count as the attempt after their retries', () => {
    const text = '{"status": "RETRY", "result": null, "retries": 2, "task_id": "x"}'

    expect(decodeRecord('x', text)?.fence).toBe(3)
    expect(records('5.2.6-success')[0]?.fence).toBe(1)
  })

  it.each([
    ['NaN', null],
    ['[Infinity, -Infinity]', [null, null]],
  ])('are read with what JSON does not know, as null: %s', (written, read) => {
    const record = decodeRecord('x', `{"status": "SUCCESS", "result": ${written}, "task_id": "x"}`)

    expect(record).toMatchObject({ status: 'SUCCESS', result: read })
  })

  it('may lack everything but a status', () => {
    expect(decodeRecord('x', '{"status":"SUCCESS"}')).toEqual(
      resultRecord({ taskId: 'x', status: 'SUCCESS', fence: 1 }),
    )
  })

  it('of a failure without an error object are given one', () => {
    const record = decodeRecord('x', '{"status":"FAILURE","result":"it broke","date_done":1763829631}')

    expect(record?.result).toMatchObject({ exc_type: 'Error', exc_message: ['it broke'] })
    expect(record?.dateDone).toBeNull()
    const odd = decodeRecord('x', '{"status":"FAILURE","result":[123456789012345678901]}')
    expect(odd?.result).toMatchObject({ exc_message: ['["123456789012345678901"]'] })
  })

  it.each(['', 'null', '[]', '7', '{"status":1}', '{"status":'])('are none: %j', (text) => {
    expect(decodeRecord('x', text)).toBeUndefined()
  })
})

describe('our records', () => {
  it('begin with status and fence, for scripts that do not decode them', () => {
    expect(encodeRecord(full)).toMatch(/^\{"status":"SUCCESS","celeriac":\{"fence":3[,}]/)
  })

  it("hold Celery's fields in Celery's form", () => {
    const { celeriac, ...wire } = JSON.parse(encodeRecord(full)) as Record<string, unknown>

    expect(wire).toEqual({
      status: 'SUCCESS',
      result: { n: [1, null] },
      traceback: null,
      children: [
        [['a', null], null],
        [['b', null], null],
      ],
      date_done: '2026-11-22T16:20:31.112000+00:00',
      group_id: 'group',
      parent_id: 'parent',
      name: 'shop.pick',
      worker: 'w1@h1',
      queue: 'picking',
      retries: 2,
      task_id: 'id-1',
    })
    expect(celeriac).toEqual({ fence: 3, root_id: 'root', sent: 1, started: 2, done: 3 })
  })

  it('are read as they were written', () => {
    expect(decodeRecord('id-1', encodeRecord(full))).toEqual(full)
    const empty = resultRecord({ taskId: 'x' })
    expect(decodeRecord('x', encodeRecord(empty))).toEqual(empty)
  })

  it.each(['FAILURE', 'RETRY', 'REVOKED'])('of %s always hold an error object, whatever the result is', (status) => {
    for (const result of [null, 'text', { any: 1 }]) {
      const record = resultRecord({ taskId: 'x', status, result })
      const text = encodeRecord(record)

      expect((JSON.parse(text) as { result: unknown }).result).toEqual({
        exc_type: 'Error',
        exc_message: [expect.any(String)],
        exc_module: 'js',
      })
      expect(decodeRecord('x', text)).toEqual(record)
    }
  })
})

describe('parts of a join', () => {
  const chords = ['5.6.3-chord', '5.6.3-chord-fail', '5.6.3-chain-group-task']

  it.each(chords)('are the bytes Python writes: %s', (run) => {
    const parts = commands(run, 'ZADD')
    expect(parts).not.toHaveLength(0)

    for (const [, , score = '', text = ''] of parts) {
      const part = decodePart(text, score) ?? expect.fail(`unread: ${text}`)
      expect(part.index).toBe(Number(score))
      expect(encodePart(part)).toBe(text)
    }
  })

  it('are escaped like Python, which writes ASCII only', () => {
    const part = {
      memberId: 'm',
      index: 0,
      state: 'SUCCESS',
      result: { ключ: ['é🍏\u007f\u0000\n"\\/', 1.5, true, {}, []] },
    }

    const text = encodePart(part)

    // json.dumps([1, 'm', 'SUCCESS', {'ключ': ['é🍏\x7f\x00\n"\\/', 1.5, True, {}, []]}])
    expect(text).toBe(
      String.raw`[1, "m", "SUCCESS", {"\u043a\u043b\u044e\u0447": ["\u00e9\ud83c\udf4f\u007f\u0000\n\"\\/", 1.5, true, {}, []]}]`,
    )
    expect(decodePart(text, '0')).toEqual(part)
  })

  it('keep whole numbers that only Python has', () => {
    const text = '[1, "m", "SUCCESS", [123456789012345678901, 1]]'

    const part = decodePart(text, '0') ?? expect.fail('unread')

    expect(part.result).toEqual([123456789012345678901n, 1])
    expect(encodePart(part)).toBe(text)
  })

  it('without a place come last', () => {
    expect(decodePart('[1, "m", "SUCCESS", 1]', 'inf')?.index).toBe(Number.POSITIVE_INFINITY)
  })

  it.each(['', '{}', '[1]', '[1, 2, "SUCCESS", 3]', 'nonsense'])('are none: %j', (text) => {
    expect(decodePart(text, '0')).toBeUndefined()
  })
})
