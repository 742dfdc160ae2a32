/** The scenarios by their names on the command line, in the order they run. */
export const scenarioNames = [
  'enqueue',
  'drain',
  'results',
  'latency',
  'chain',
  'chord',
  'delayed',
  'backlog',
  'memory',
  'drain@1ms',
  'latency@1ms',
  'eta',
  'pools',
  'beats',
  'monitor',
] as const

export type ScenarioName = (typeof scenarioNames)[number]
