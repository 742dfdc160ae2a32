/**
 * What a pipeline can carry, from what was measured; by the laws of operational analysis, which hold for measured
 * quantities whatever their distribution (P. Denning and J. Buzen, "The Operational Analysis of Queueing Network
 * Models", ACM Computing Surveys 10(3), 1978; E. Lazowska et al., "Quantitative System Performance", 1984, chapters 3
 * and 5).
 *
 * - *Service demand*: what one flow takes of a resource, D = V·S: visits times the time of a visit, retries included.
 * - *Utilisation law*: at X flows a second a resource of c servers is busy to the share U = X·D/c.
 * - *Bottleneck law*: no U exceeds 1, so X is at most c/D of the resource where that is least. It is the bottleneck, and
 *   only more of it, or less demand for it, raises the limit: up to that of the next one.
 *
 * Stages may share workers. A set of stages cannot use more slots than the workers have that serve any of the set; for
 * one stage alone that is c/D, and the least over all sets is the limit exactly (max-flow min-cut, L. Ford and
 * D. Fulkerson, 1956).
 */

/** What a flow asks of a stage. */
export interface StageDemand {
  readonly task: string
  /** Time in slots for each flow: visits × mean run, in ms. */
  readonly slotMs: number
}

/** Slots of one worker, and the stages whose tasks may run in them. */
export interface SlotGroup {
  readonly slots: number
  readonly tasks: readonly string[]
}

/** Workers that serve the same stages, and the CPU that a flow costs them together. */
export interface CpuGroup {
  readonly tasks: readonly string[]
  readonly workers: number
  /** Cores that they can use at most: one for each event loop, one for each child. */
  readonly cores: number
  /** CPU time for each flow, in ms. */
  readonly cpuMs: number
}

/** A limit that somebody has set: `rateLimit` or `concurrency` of a task. */
export interface Rule {
  readonly task: string
  /** The option, as it is written. */
  readonly text: string
  /** Flows per second that it lets through. */
  readonly perSecond: number
}

export interface Model {
  readonly stages: readonly StageDemand[]
  readonly slots: readonly SlotGroup[]
  readonly cpu: readonly CpuGroup[]
  /** The machine where all of the workers are; undefined when they are on several. */
  readonly host: { readonly cores: number; readonly cpuMs: number } | undefined
  readonly rules: readonly Rule[]
}

/** What keeps the pipeline from carrying more than `perSecond` flows. */
export type Limit = {
  /** The stages that it is a limit of. */
  readonly tasks: readonly string[]
  readonly perSecond: number
} & (
  | (Resource & {
      /** Slots of the workers of these stages. */
      readonly kind: 'slots'
      readonly slots: number
    })
  | (Resource & {
      /** Cores that the workers of these stages can use. */
      readonly kind: 'cpu'
      readonly cores: number
      readonly workers: number
    })
  | (Resource & {
      /** Cores of the machine that all of the workers are on. */
      readonly kind: 'host'
      readonly cores: number
    })
  | {
      /** Somebody has set it. */
      readonly kind: 'rule'
      readonly text: string
    }
)

interface Resource {
  /** What each flow takes of it, in ms. */
  readonly demandMs: number
}

/** A share of the CPU from which on runs are taken to be long because they wait for it. */
const saturated = 0.85

/** Sets of more stages than this are not gone through; the limit of all of them together is. */
const maxStages = 12

/** Every limit, the lowest first: that is the bottleneck. Of sets of stages those alone that bind more than their parts. */
export function limitsOf(model: Model): Limit[] {
  const { stages, cpu, host, rules } = model
  const limits: Limit[] = slotLimits(model)
  for (const { tasks, workers, cores, cpuMs } of cpu) {
    if (cpuMs <= 0) continue
    limits.push({ kind: 'cpu', tasks, workers, cores, demandMs: cpuMs, perSecond: (cores * 1_000) / cpuMs })
  }
  if (host !== undefined && host.cpuMs > 0) {
    const { cores, cpuMs } = host
    const tasks = stages.map(({ task }) => task)
    limits.push({ kind: 'host', tasks, cores, demandMs: cpuMs, perSecond: (cores * 1_000) / cpuMs })
  }
  for (const { task, text, perSecond } of rules) limits.push({ kind: 'rule', tasks: [task], text, perSecond })
  return limits.sort((a, b) => a.perSecond - b.perSecond || a.tasks.length - b.tasks.length)
}

/**
 * The one that binds at so many flows a second: the lowest, unless a CPU is used up. Then runs are long because they wait
 * for it, and what they seem to need of slots says nothing.
 */
export function bottleneckOf(limits: readonly Limit[], perSecond: number): Limit | undefined {
  const isUsedUp = ({ kind, perSecond: most }: Limit): boolean =>
    (kind === 'cpu' || kind === 'host') && perSecond / most >= saturated
  return limits.find(isUsedUp) ?? limits[0]
}

function slotLimits({ stages, slots }: Model): Limit[] {
  const busy = stages.filter(({ slotMs, task }) => slotMs > 0 && slots.some(({ tasks }) => tasks.includes(task)))
  const limits: Limit[] = []
  for (const set of setsOf(busy)) {
    const tasks = set.map(({ task }) => task)
    const demandMs = set.reduce((sum, { slotMs }) => sum + slotMs, 0)
    const serving = slots.filter((group) => group.tasks.some((task) => tasks.includes(task)))
    const count = serving.reduce((sum, group) => sum + group.slots, 0)
    const perSecond = (count * 1_000) / demandMs
    // A set says nothing new unless it binds more than each of its parts. Smaller sets come first.
    const isNews = limits.every(
      (limit) => !limit.tasks.every((task) => tasks.includes(task)) || limit.perSecond > perSecond,
    )
    if (isNews) limits.push({ kind: 'slots', tasks, slots: count, demandMs, perSecond })
  }
  return limits
}

/** Every set that is not empty, the smaller ones first. */
function setsOf<Item>(items: readonly Item[]): Item[][] {
  if (items.length > maxStages) return [...items.map((item) => [item]), [...items]]
  const sets = Array.from({ length: 2 ** items.length - 1 }, (_, index) =>
    items.filter((_item, at) => ((index + 1) >> at) & 1),
  )
  return sets.sort((a, b) => a.length - b.length)
}
