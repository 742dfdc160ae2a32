import { expect, it } from 'vitest'
import * as api from '../../src/index.ts'
import * as kit from '../../src/testing/app.ts'
import * as testing from '../../src/testing/index.ts'

it('the package exports these values and no others', () => {
  expect(Object.keys(api).sort()).toEqual([
    'AsyncResult',
    'Celeriac',
    'CeleriacError',
    'Chain',
    'Chord',
    'FleetState',
    'Group',
    'GroupResult',
    'Ignore',
    'LeaseLostError',
    'MaxRetriesExceededError',
    'Reject',
    'Replace',
    'Retry',
    'Signature',
    'SoftTimeLimitExceeded',
    'TaskFailedError',
    'TaskRevokedError',
    'TimeLimitExceeded',
    'at',
    'chain',
    'chord',
    'crontab',
    'errorCodes',
    'every',
    'group',
    'isErrorReply',
    'isReady',
    'receiveEvents',
    'solar',
    'systemClock',
  ])
})

it('celeriac/testing exports the suites and the manual clock', () => {
  expect(Object.keys(testing).sort()).toEqual([
    'ManualClock',
    'brokerContract',
    'busContract',
    'limiterContract',
    'lockContract',
    'resultContract',
    'scheduleContract',
  ])
})

it('celeriac/testing/app exports the kit for tests of applications', () => {
  expect(Object.keys(kit).sort()).toEqual(['ManualClock', 'TestApp', 'testApp'])
})
