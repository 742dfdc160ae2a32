/** One measured figure: a line of the JSON output, a cell of the table. */
import type { Exactness } from '../harness/tally.ts'
import type { BrokerName, Durability, SideName } from '../sides/side.ts'

export type Better = 'higher' | 'lower'

export interface Measurement {
  readonly broker: BrokerName
  readonly scenario: string
  /** What of the scenario is measured, e.g. `bulk`, `idle, one process: p50`. */
  readonly metric: string
  readonly side: SideName | 'raw'
  /** The side's setting, e.g. `c50` = a worker's concurrency, `tx200` = rows in a transaction. The table shows the best one. */
  readonly variant: string
  readonly unit: string
  readonly better: Better
  /** Median over the rounds. */
  readonly value: number
  readonly min: number
  readonly max: number
  readonly rounds: number
  readonly count: number
  /** Whether every task was there exactly once, in every round. Otherwise the figure is INVALID. */
  readonly exact: boolean
  readonly doubles: number
  readonly misses: number
  /**
   * What a resolved promise of the side means there: SQLite's durabilities; `memory` on a Redis that saves nothing;
   * `confirmed` and `unconfirmed` for persistent messages on RabbitMQ.
   */
  readonly durability: Durability | 'memory' | 'confirmed' | 'unconfirmed'
  readonly node: string
  readonly store: string
  /** One-minute load average when the first round began: what else the machine was doing. */
  readonly load: number
}

/** What one round says about one figure. */
export interface Sample {
  readonly broker: BrokerName
  readonly scenario: string
  readonly metric: string
  readonly side: Measurement['side']
  readonly variant: string
  readonly unit: string
  readonly better: Better
  readonly value: number
  readonly count: number
  readonly exactness: Exactness
  readonly load: number
}
