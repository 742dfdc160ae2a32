/** The flow under test: what its name means in the user's module, and which tasks it passes through. */
import type { AnyCanvas, AnySignature } from '../canvas/canvas.ts'
import type { Chain } from '../canvas/chain.ts'
import type { Signature } from '../canvas/signature.ts'
import { CeleriacError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import type { AsyncResult } from '../result/async-result.ts'
import type { GroupResult } from '../result/group-result.ts'
import type { Registry } from '../task/registry.ts'

/** What can be sent, and begins and ends in one task. */
export type Canvas = Signature<[], unknown> | Chain<unknown>

export interface Flow {
  readonly name: string
  /** What is to be sent for an input. @throws CeleriacError `CANVAS_INVALID`, or what the user's function throws */
  build(input: unknown): Promise<Canvas>
}

export interface FlowSource {
  /** What the module of the application exports. */
  readonly exported: Readonly<Record<string, unknown>>
  readonly registry: Registry
  readonly remote: (task: string) => Handle
}

/** A task as the module exports it; of this copy of the package or another. */
interface Handle {
  readonly name: string
  s(...args: unknown[]): AnySignature
}

/**
 * A function of the module that makes a canvas of an input, a task that it exports, or a registered task.
 * @throws CeleriacError `CONFIG_INVALID` for none of these
 */
export function resolveFlow(name: string, { exported, registry, remote }: FlowSource): Flow {
  const found = exported[name]
  if (isHandle(found)) return { name, build: async (input) => signatureOf(found, input) }
  if (typeof found === 'function') {
    return { name, build: async (input) => checkCanvas(await (found as (input: unknown) => unknown)(input), name) }
  }
  if (registry.get(name) !== undefined) return { name, build: async (input) => signatureOf(remote(name), input) }
  const known = [...Object.keys(exported).filter((one) => isFlow(exported[one])), ...registry.names()]
  const guess = nearest(name, known)
  const advice =
    guess === undefined ? `there are ${known.map((one) => `'${one}'`).join(', ')}` : `did you mean '${guess}'?`
  throw new CeleriacError(
    'CONFIG_INVALID',
    `'${name}' is neither a function or task that the module exports nor the name of a task of the app; ${advice}`,
  )
}

export interface Step {
  readonly task: string
  /** Where the call itself names one. */
  readonly queue: string | undefined
}

/** The tasks it runs through, in their order; those that tasks send by themselves show only when it runs. */
export function stepsOf(canvas: AnyCanvas): Step[] {
  switch (canvas.kind) {
    case 'signature':
      return [{ task: canvas.parts.task, queue: canvas.told.options.queue }]
    case 'chain':
      return canvas.steps.flatMap(stepsOf)
    case 'group':
      return canvas.members.flatMap(stepsOf)
    case 'chord':
      return [...stepsOf(canvas.header), ...stepsOf(canvas.body)]
  }
}

/** Id of the first step of what was sent. */
export function rootOf(result: AsyncResult): string {
  let first: AsyncResult | GroupResult = result
  while (first.parent !== undefined) first = first.parent
  return first.id
}

function signatureOf(handle: Handle, input: unknown): Canvas {
  return (input === undefined ? handle.s() : handle.s(input)) as Signature<[], unknown>
}

function checkCanvas(made: unknown, name: string): Canvas {
  const canvas = made as AnyCanvas | null | undefined
  const isChain =
    canvas?.kind === 'chain' && canvas.steps[0]?.kind === 'signature' && canvas.steps.at(-1)?.kind !== 'group'
  if (isChain || canvas?.kind === 'signature') return canvas as Canvas
  const got = made instanceof Object ? `a ${made.constructor?.name ?? 'value'}` : String(made)
  throw new CeleriacError(
    'CANVAS_INVALID',
    `the function '${name}' must return what is to be sent, a signature or a chain that begins and ends in one task, and returned ${got}; ` +
      `such as (order) => chain(pick.s(order), pack.s())`,
  )
}

function isHandle(value: unknown): value is Handle {
  const { s, name } = (value ?? {}) as Partial<Handle>
  return typeof value === 'object' && typeof s === 'function' && typeof name === 'string'
}

function isFlow(value: unknown): boolean {
  return isHandle(value) || typeof value === 'function'
}
