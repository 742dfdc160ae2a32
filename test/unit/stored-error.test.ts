import { CeleriacError, MaxRetriesExceededError, Reject, SoftTimeLimitExceeded, TimeLimitExceeded } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { describeError, storeError, tracebackOf } from '../../src/result/stored-error.ts'

class AisleBusy extends Error {
  override readonly name = 'AisleBusy'
}

class ValueError extends Error {
  override readonly name = 'ValueError'
}

describe('a stored error', () => {
  it.each([
    [new TypeError('x is not a function'), 'TypeError', 'builtins'],
    [new SyntaxError('oops'), 'SyntaxError', 'builtins'],
    [new ValueError('oops'), 'ValueError', 'builtins'],
    [new RangeError('oops'), 'RangeError', 'js'],
    [new Error('oops'), 'Error', 'js'],
    [new AisleBusy('busy'), 'AisleBusy', 'js'],
    [new TimeLimitExceeded(30), 'TimeLimitExceeded', 'celery.exceptions'],
    [new SoftTimeLimitExceeded(20), 'SoftTimeLimitExceeded', 'celery.exceptions'],
    [new MaxRetriesExceededError('pick', 3, undefined), 'MaxRetriesExceededError', 'celery.exceptions'],
    [new Reject('no'), 'Reject', 'celery.exceptions'],
    [new CeleriacError('TASK_UNKNOWN', 'no task'), 'NotRegistered', 'celery.exceptions'],
    [new CeleriacError('WORKER_LOST', 'lost'), 'WorkerLostError', 'celery.exceptions'],
    [new CeleriacError('INPUT_INVALID', 'bad'), 'CeleriacError', 'js'],
  ])('says %s by the class that Python knows it under', (error, type, module) => {
    expect(storeError(error)).toEqual({ exc_type: type, exc_message: [error.message], exc_module: module })
  })

  it('says what was thrown that is no error', () => {
    expect(storeError('just text')).toEqual({ exc_type: 'Error', exc_message: ['just text'], exc_module: 'js' })
    expect(storeError({ code: 7 }).exc_message).toEqual(['thrown value: {"code":7}'])
    expect(storeError({ toString: 'no function', of: Symbol('aisle') }).exc_message).toEqual([
      "thrown value: { toString: 'no function', of: Symbol(aisle) }",
    ])
    expect(storeError(Symbol('s')).exc_message).toEqual(['thrown value: Symbol(s)'])
  })

  it('of Python is described by its class, its module and its arguments', () => {
    const stored = { exc_type: 'ValueError', exc_message: ['boom', 42, { a: [1] }, null], exc_module: 'builtins' }

    expect(describeError(stored)).toEqual({
      type: 'ValueError',
      module: 'builtins',
      message: 'boom, 42, {"a":[1]}, null',
    })
    expect(describeError({ exc_type: 'Custom.Inner', exc_message: 'text' })).toEqual({
      type: 'Custom.Inner',
      module: null,
      message: 'text',
    })
    expect(describeError(null)).toEqual({ type: 'Error', module: null, message: '' })
  })

  it('has a traceback with its causes', () => {
    const error = new AisleBusy('busy', { cause: new TypeError('deep') })

    expect(tracebackOf(error)).toMatch(/^AisleBusy: busy\n.*\nCaused by: TypeError: deep\n/s)
    expect(tracebackOf('text')).toBeNull()
  })
})
