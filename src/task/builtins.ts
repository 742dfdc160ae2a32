/**
 * Tasks that every worker has, under Celery's names (`celery/app/builtins.py`): one task for each item of a list, in one
 * message, and a list of what came.
 */
import { CeleriacError } from '../errors.ts'
import type { TaskContext } from './context.ts'
import { resolveTaskOptions } from './options.ts'
import type { Registry, TaskDefinition } from './registry.ts'

export const mapTask = 'celery.map'
export const starmapTask = 'celery.starmap'
/** Gives its arguments as a list, or the one at `index`. */
export const accumulateTask = 'celery.accumulate'

type Run = TaskDefinition['run']

/** @param registry where the tasks of the items are found when they run */
export function builtinTasks(registry: Registry): TaskDefinition[] {
  const forEach =
    (argsOf: (item: unknown) => readonly unknown[]): Run =>
    (_args, kwargs, ctx) =>
      runEach(registry, kwargs, argsOf, ctx)
  const runs: Readonly<Record<string, Run>> = {
    [mapTask]: forEach((item) => [item]),
    [starmapTask]: forEach((item) => (Array.isArray(item) ? item : [item])),
    [accumulateTask]: (args, { index }) => (typeof index === 'number' ? args[index] : args),
  }
  return Object.entries(runs).map(([name, run]) => ({
    name,
    run,
    input: undefined,
    options: resolveTaskOptions(name, {}, {}),
  }))
}

/** One after the other, as Celery does it. */
async function runEach(
  registry: Registry,
  kwargs: Readonly<Record<string, unknown>>,
  argsOf: (item: unknown) => readonly unknown[],
  ctx: TaskContext,
): Promise<unknown[]> {
  const { it } = kwargs
  const name = mappedTask(kwargs)
  if (name === undefined || !Array.isArray(it)) {
    throw new CeleriacError(
      'MESSAGE_INVALID',
      `'${ctx.name}' takes the keywords \`task\`, a signature, and \`it\`, a list`,
    )
  }
  const definition = registry.get(name)
  if (definition === undefined) throw registry.unknown(name)
  const values: unknown[] = []
  for (const item of it) {
    ctx.signal.throwIfAborted()
    values.push(await definition.run(argsOf(item), {}, ctx))
  }
  return values
}

/** The task that runs for each item; it decides where the message goes. */
export function mappedTask({ task }: Readonly<Record<string, unknown>>): string | undefined {
  const name = typeof task === 'object' && task !== null ? (task as { task?: unknown }).task : undefined
  return typeof name === 'string' ? name : undefined
}
