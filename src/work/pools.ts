/** Makes the pools of a worker from its settings. */
import { CeleriacError } from '../errors.ts'
import type { Child, ChildListener } from '../pool/child.ts'
import { ChildPool } from '../pool/child-pool.ts'
import { startChildProcess } from '../pool/child-process.ts'
import { startChildThread } from '../pool/child-thread.ts'
import type { Job } from '../pool/job.ts'
import { LoopPool } from '../pool/loop-pool.ts'
import type { Pool } from '../pool/pool.ts'
import type { RunParts } from '../pool/run.ts'
import type { Optimization, PoolKind } from '../pool-kinds.ts'

export interface PoolSettings {
  /** Tasks running at once, in each kind of pool. */
  readonly poolSizes: Readonly<Record<PoolKind, number>>
  readonly optimization: Optimization
  /** Infinity = never replaced. */
  readonly maxTasksPerChild: number
  readonly maxMemoryPerChildBytes: number
  /** The module that exports the application, for children to load. */
  readonly module: string | undefined
}

const entry = new URL(`../pool-child.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url)

/** @throws CeleriacError `CONFIG_INVALID` for children that have no module to load */
export function createPool<J extends Job>(kind: PoolKind, settings: PoolSettings, parts: RunParts<J>): Pool<J> {
  const size = settings.poolSizes[kind]
  if (kind === 'async' || kind === 'solo') return new LoopPool(kind, size, parts)
  const { module, optimization, maxTasksPerChild, maxMemoryPerChildBytes } = settings
  if (module === undefined) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `the pool '${kind}' needs \`module\`, the file that exports the application: its children load it. ` +
        'Example: app.worker({ pool: ' +
        `'${kind}', module: import.meta.filename })`,
    )
  }
  const child = { module, worker: parts.worker, tellsMemory: Number.isFinite(maxMemoryPerChildBytes) }
  const startChild = (listener: ChildListener): Child =>
    kind === 'processes' ? startChildProcess(entry, child, listener) : startChildThread(entry, child, listener)
  return new ChildPool({ kind, size, optimization, maxTasksPerChild, maxMemoryPerChildBytes }, { ...parts, startChild })
}
