/** Where tasks run, and how children are given work. */

/**
 * `async`: many at once on the worker's event loop; `solo`: one at a time there; `processes` and `threads`: one at a time
 * in each of several children that load the application.
 */
export const poolKinds = ['async', 'processes', 'threads', 'solo'] as const

export type PoolKind = (typeof poolKinds)[number]

/** `fair` hands a child work only when it is idle; `throughput` keeps a short pipeline before each, for tiny tasks. */
export const optimizations = ['fair', 'throughput'] as const

export type Optimization = (typeof optimizations)[number]
