import type { BrokerName } from '../sides/side.ts'
import { backlog } from './backlog.ts'
import { beats } from './beats.ts'
import type { Scenario } from './bench.ts'
import { chain } from './chain.ts'
import { chord } from './chord.ts'
import { delayed } from './delayed.ts'
import { drain, drainWithLatency, results } from './drain.ts'
import { enqueue } from './enqueue.ts'
import { eta } from './eta.ts'
import { latency, latencyWithLatency } from './latency.ts'
import { memory } from './memory.ts'
import { monitor } from './monitor.ts'
import type { ScenarioName } from './names.ts'
import { pools } from './pools.ts'

export const scenarios: Readonly<Record<ScenarioName, Scenario>> = {
  enqueue,
  drain,
  results,
  latency,
  chain,
  chord,
  delayed,
  backlog,
  memory,
  'drain@1ms': drainWithLatency,
  'latency@1ms': latencyWithLatency,
  eta,
  pools,
  beats,
  monitor,
}

/** A file has no network, and no Python; what a claim costs at two million messages is a question to SQLite's indexes. */
export const scenariosOf: Readonly<Record<BrokerName, readonly ScenarioName[]>> = {
  sqlite: ['enqueue', 'drain', 'latency', 'chain', 'delayed', 'backlog', 'memory', 'pools', 'beats', 'monitor'],
  redis: [
    'enqueue',
    'drain',
    'results',
    'latency',
    'chain',
    'chord',
    'delayed',
    'memory',
    'drain@1ms',
    'latency@1ms',
    'eta',
    'pools',
    'beats',
    'monitor',
  ],
  amqp: [
    'enqueue',
    'drain',
    'results',
    'latency',
    'chain',
    'delayed',
    'memory',
    'drain@1ms',
    'latency@1ms',
    'eta',
    'beats',
    'monitor',
  ],
}
