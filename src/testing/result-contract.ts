import { contract } from './contract.ts'
import { expiry } from './result/expiry.ts'
import type { ResultFixture, ResultHarness } from './result/fixture.ts'
import { joins } from './result/joins.ts'
import { records } from './result/records.ts'
import { subscriptions } from './result/subscriptions.ts'

/** Every promise of `result/result-store.ts`, as a suite for one driver. */
export function resultContract(name: string, harness: ResultHarness): void {
  contract<ResultFixture>(`${name} result store`, harness, { records, subscriptions, joins, expiry })
}
