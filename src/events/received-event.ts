/** Events as they come from the bus: of any type and any sender, so nothing about them is certain but their type. */
import { eventTopic } from '../broker/bus.ts'
import { taskEventsTopic, topicOf } from './event.ts'

/** An event of any type. The named fields are right where they are there; all others are as they came. */
export interface ReceivedEvent {
  /** Such as `task-succeeded`; any program may send types of its own. */
  readonly type: string
  /** Node name of the sender. */
  readonly hostname?: string
  /** Epoch seconds. */
  readonly timestamp?: number
  /** Logical time of the sender. */
  readonly clock?: number
  readonly pid?: number
  /** Id of the task, for events of tasks. */
  readonly uuid?: string
  readonly [field: string]: unknown
}

const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''
const isCount = (value: unknown): boolean => Number.isSafeInteger(value)
const checks: Readonly<Record<string, (value: unknown) => boolean>> = {
  hostname: isText,
  uuid: isText,
  timestamp: (value) => typeof value === 'number' && Number.isFinite(value),
  clock: isCount,
  pid: isCount,
}

/** The events in a message: one, or a list of them. What is no event is left out, and so are fields of a wrong type. */
export function eventsIn(payload: unknown): ReceivedEvent[] {
  return (Array.isArray(payload) ? payload : [payload]).filter(isEvent).map(withoutWrongFields)
}

function isEvent(value: unknown): value is Readonly<Record<string, unknown>> & { readonly type: string } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return isText((value as { type?: unknown }).type)
}

function withoutWrongFields(event: Readonly<Record<string, unknown>> & { readonly type: string }): ReceivedEvent {
  const wrong = Object.entries(checks).filter(([name, isRight]) => event[name] !== undefined && !isRight(event[name]))
  if (wrong.length === 0) return event
  const right = { ...event }
  for (const [name] of wrong) delete right[name]
  return right
}

/**
 * Where events of these types are heard: `task-failed`, or all with a beginning, such as `worker-*`. Workers send task
 * events several at once on a topic of their own, so some may come that were not asked for.
 */
export function topicsOf(types: readonly string[]): string[] {
  if (types.length === 0 || types.includes('*')) return [`${eventTopic}.#`]
  const topics = types.map((type) => (type.endsWith('-*') ? `${topicOf(type.slice(0, -2))}.#` : topicOf(type)))
  const hasTasks = types.some((type) => type.startsWith('task-'))
  const all = new Set(hasTasks ? [...topics, taskEventsTopic] : topics)
  // A message is to be heard once, though two topics cover it.
  return [...all].filter(
    (topic) =>
      ![...all].some((wider) => wider !== topic && wider.endsWith('.#') && topic.startsWith(wider.slice(0, -1))),
  )
}

/** Whether the type is one of these, or has one of these beginnings. */
export function isOfTypes(type: string, types: readonly string[]): boolean {
  if (types.length === 0) return true
  return types.some((wanted) => (wanted.endsWith('*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted))
}
