import type { ResultStore } from '../../result/result-store.ts'
import type { Fixture, Harness } from '../contract.ts'

export interface ResultFixture extends Fixture {
  /** A store whose records outlast any case. */
  readonly store: ResultStore
  /** Another open connection to the same storage, as another process would have; its own records go after `expiresMs`. */
  peer(options?: { expiresMs?: number }): Promise<ResultStore>
}

export type ResultHarness = Harness<ResultFixture>
