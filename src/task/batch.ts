/** Tasks whose calls are run many at a time: what can be said about them, and what their function is given. */
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { wholeNumber } from '../options.ts'
import type { TaskContext } from './context.ts'
import type { TaskOptions } from './options.ts'

export interface BatchOptions<Item> extends Omit<TaskOptions, 'concurrency'> {
  /** Most calls in one run. At least 1. */
  readonly maxSize: number
  /** The first call of a batch waits at most so long for others, while a slot is free. @default '1s' */
  readonly maxWait?: Duration
  /** Calls go into one batch only with others of their key. Given the item as it came, unchecked. @default all together */
  readonly key?: (item: Item) => string | number
}

/** One call of a batch. */
export interface BatchRequest {
  readonly taskId: string
  /** Retries so far: 0 on the first run. */
  readonly retries: number
  /** 1, and one more for each worker that was lost while it had this message. */
  readonly deliveryCount: number
  readonly rootId: string
  readonly parentId: string | null
  readonly groupId: string | null
  /** Headers of the message, the caller's own among them. */
  readonly headers: Readonly<Record<string, unknown>>
}

/**
 * Given to the function of a batch. What a `TaskContext` says of one call it says of the first, and what is sent from
 * inside counts as sent by that one; `updateState` concerns them all.
 */
export interface BatchContext extends TaskContext {
  /** The calls, in the order of the items. */
  readonly requests: readonly BatchRequest[]
  /**
   * Ends one call with an error, whatever becomes of the others: it is retried or given up by itself.
   * @param error `ctx.retry(…)` too
   * @throws RangeError
   */
  fail(index: number, error: unknown): void
}

/** How a task's calls are put together and run. */
export interface Batching {
  readonly maxSize: number
  readonly maxWaitMs: number
  /** @throws what the user's function throws, or `CONFIG_INVALID` */
  readonly keyOf: (args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>) => string
  /** One call's item, checked. @throws CeleriacError `INPUT_INVALID` */
  readonly read: (args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>) => unknown
  readonly run: (items: readonly unknown[], ctx: BatchContext) => unknown
}

const defaultMaxWait = '1s'

/** @throws CeleriacError `CONFIG_INVALID` */
export function checkBatchOptions(
  name: string,
  { maxSize, maxWait = defaultMaxWait, key, ...task }: BatchOptions<never>,
): { sizes: Pick<Batching, 'maxSize' | 'maxWaitMs'>; key: ((item: unknown) => unknown) | undefined } {
  const at = (option: string): string => `${option}\` of batch \`${name}`
  if (key !== undefined && typeof key !== 'function') {
    throw new CeleriacError('CONFIG_INVALID', `\`${at('key')}\` must be a function of an item`)
  }
  if ('bind' in task) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `batch '${name}' takes no option \`bind\`: the context is its second parameter`,
    )
  }
  if ('concurrency' in task || (typeof task.rateLimit === 'object' && task.rateLimit.scope === 'cluster')) {
    const message = `batch '${name}' cannot have limits over all workers (\`concurrency\`, a \`rateLimit\` of the cluster): those count calls`
    throw new CeleriacError('CONFIG_INVALID', message)
  }
  return {
    sizes: { maxSize: wholeNumber(maxSize, at('maxSize'), 1), maxWaitMs: toMs(maxWait, at('maxWait')) },
    key: key as ((item: unknown) => unknown) | undefined,
  }
}

/** @throws CeleriacError `CONFIG_INVALID` */
export function batchKey(name: string, key: unknown): string {
  if (typeof key === 'string' || typeof key === 'number') return String(key)
  throw new CeleriacError(
    'CONFIG_INVALID',
    `the key of a call of '${name}' must be a text or a number, got ${typeof key}`,
  )
}

/** What each call of a batch gave. @throws TypeError for a value that cannot be told apart */
export function valuesOf(name: string, value: unknown, size: number): readonly unknown[] {
  if (value === undefined || value === null) return Array.from({ length: size })
  if (Array.isArray(value) && value.length === size) return value
  const got = Array.isArray(value) ? `${value.length} values` : `a value of type ${typeof value}`
  throw new TypeError(
    `batch '${name}' must return nothing or a list with one value for each of its ${size} items, got ${got}`,
  )
}
