/** The three stages of the warehouse: each has a queue, a task and workers of its own. */
export interface Stage {
  readonly queue: string
  /** Name of its task. */
  readonly task: string
  /** Tasks that one worker process runs at once. */
  readonly concurrency: number
}

/** In the order in which an order passes them. */
export const stages = [
  { queue: 'picking', task: 'warehouse.pick', concurrency: 3 },
  // Packing keeps a core busy: a second one in the same process would only wait for the first.
  { queue: 'packing', task: 'warehouse.pack', concurrency: 1 },
  { queue: 'delivering', task: 'warehouse.deliver', concurrency: 6 },
] as const satisfies readonly Stage[]

/** The same with so many pickers in each worker process. */
export function stagesWith(pickers: number): Stage[] {
  return stages.map((stage) => (stage.queue === 'picking' ? { ...stage, concurrency: pickers } : stage))
}
