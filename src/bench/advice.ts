/** What to change about a bottleneck, and what that brings by the laws of `capacity.ts`. */
import { type Limit, limitsOf, type Model } from './capacity.ts'

/** What the pipeline carries after a change, and what keeps it from more; `next` is undefined where that is not known. */
interface Outlook {
  readonly perSecond: number
  readonly next: Limit | undefined
}

/** One change. */
export type Advice =
  /** So many slots for the task instead of those it has. */
  | (Outlook & { readonly kind: 'slots'; readonly task: string; readonly from: number; readonly to: number })
  /** So many cores for its workers: as many workers, or a pool of processes with so many children. */
  | (Outlook & { readonly kind: 'cores'; readonly task: string; readonly from: number; readonly to: number })
  /** A flow may take no more than `toMs` of the resource: by batches, by caching, by doing less. */
  | (Outlook & {
      readonly kind: 'demand'
      readonly task: string
      readonly of: 'slots' | 'cpu' | 'host'
      readonly fromMs: number
      readonly toMs: number
    })
  /** Raise the limit that was set. */
  | (Outlook & { readonly kind: 'rule'; readonly task: string; readonly text: string })

/** More is not worth proposing: by then something that was not measured is the limit. */
const mostGrowth = 4
/** So much more than is wanted: where slots are busy four fifths of the time, queues stay short. */
const reserve = 1.25
/** The share of the next limit that is aimed at: its last part would cost a slot that is hardly used. */
const headroom = 0.95
/** What brings less than this factor is not proposed. */
const worthwhile = 1.5

/**
 * The most useful change first; none where no limit is known.
 * @param wantedPerSecond flows that are to get through. @default as many as possible
 */
export function adviceOn(model: Model, bottleneck: Limit | undefined, wantedPerSecond?: number): Advice[] {
  if (bottleneck === undefined) return []
  const { kind, tasks, perSecond: nowPerSecond } = bottleneck
  const task = heaviest(model, bottleneck)
  const wanted = wantedPerSecond === undefined ? Number.POSITIVE_INFINITY : wantedPerSecond * reserve
  const most = Math.min(nowPerSecond * mostGrowth, Math.max(nowPerSecond * worthwhile, wanted))
  if (kind === 'rule') {
    const rules = model.rules.filter((rule) => rule.task !== task)
    return [{ kind, task, text: bottleneck.text, ...outlook({ ...model, rules }, most) }]
  }
  const lighter = kind === 'host' ? { ...model, host: undefined } : withoutCpu(withoutSlots(model, tasks), task)
  const free = outlook(lighter, most)
  const fromMs = bottleneck.demandMs
  const less: Advice = {
    kind: 'demand',
    task,
    of: kind,
    fromMs,
    toMs: (fromMs * nowPerSecond) / free.perSecond,
    ...free,
  }
  return kind === 'host' ? [less] : [moreOf(model, bottleneck, task, most), less]
}

/** Which of the stages that share the resource takes most of it. */
export function heaviest({ stages }: Model, { tasks }: Limit): string {
  const shared = stages.filter(({ task }) => tasks.includes(task)).sort((a, b) => b.slotMs - a.slotMs)
  return shared[0]?.task ?? tasks[0] ?? ''
}

function moreOf(model: Model, limit: Limit & { readonly kind: 'slots' | 'cpu' }, task: string, most: number): Advice {
  const { tasks, perSecond } = limit
  const withSlots = withoutSlots(model, tasks)
  if (limit.kind === 'slots') {
    const free = outlook(withSlots, most)
    const cpu = free.next?.kind === 'cpu' && free.next.tasks.includes(task) ? free.next : undefined
    // Further slots of workers whose CPU is nearly used up would bring next to nothing.
    if (cpu === undefined || free.perSecond > perSecond * worthwhile) {
      return { kind: 'slots', task, ...growth(limit.slots, perSecond, free) }
    }
    return moreOf(withSlots, cpu, task, most)
  }
  // More workers bring slots along.
  return { kind: 'cores', task, ...growth(limit.cores, perSecond, outlook(withoutCpu(withSlots, task), most)) }
}

/** As many as carry nearly what the next limit lets through. */
function growth(from: number, perSecond: number, free: Outlook): Outlook & { from: number; to: number } {
  const to = Math.max(from + 1, Math.ceil((from * free.perSecond * headroom) / perSecond))
  return { from, to, perSecond: Math.min(free.perSecond, (perSecond * to) / from), next: free.next }
}

/** With as many slots as anybody may want. */
function withoutSlots(model: Model, tasks: readonly string[]): Model {
  return { ...model, slots: [...model.slots, { slots: Number.POSITIVE_INFINITY, tasks }] }
}

function withoutCpu(model: Model, task: string): Model {
  return { ...model, cpu: model.cpu.filter(({ tasks }) => !tasks.includes(task)) }
}

function outlook(model: Model, most: number): Outlook {
  const [next] = limitsOf(model)
  return next === undefined || next.perSecond > most
    ? { perSecond: most, next: undefined }
    : { perSecond: next.perSecond, next }
}
