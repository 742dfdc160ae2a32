/**
 * Task calls as messages of Celery's protocol 2, with all its headers and properties; `decode-task.ts` reads them.
 * https://docs.celeryq.dev/en/stable/internals/protocol.html
 */
import { hostname } from 'node:os'
import type { OutgoingMessage, Properties } from '../broker/broker.ts'
import type { Compression } from '../compression.ts'
import { encodeJson } from '../json.ts'
import type { Content, Encoded } from './content.ts'
import { argsRepr, kwargsRepr } from './repr.ts'
import { json } from './serializer.ts'
import type { CeleriacHeader, Embed } from './wire.ts'

/** One call, complete: everything a message says. Times are absolute, in epoch ms. */
export interface TaskCall {
  readonly task: string
  readonly id: string
  readonly queue: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly embed: Embed
  readonly rootId: string
  readonly parentId: string | null
  readonly groupId: string | null
  readonly groupIndex: number | null
  readonly retries: number
  readonly etaMs: number | null
  /** Who keeps it until then: the broker, or, in Celery's classic form, the worker that gets it. */
  readonly keptBy: 'broker' | 'worker'
  readonly expiresMs: number | null
  readonly ignoreResult: boolean
  readonly timeLimitS: number | null
  readonly softTimeLimitS: number | null
  /** Undefined takes the broker's usual place. */
  readonly priority: number | undefined
  readonly replyTo: string | null
  readonly shadow: string | null
  /** How often it has replaced itself. */
  readonly replacedTaskNesting: number
  readonly stamps: Readonly<Record<string, unknown>> | null
  /** The caller's own headers, merged flat into the message's. */
  readonly headers: Readonly<Record<string, unknown>> | null
  /** Name of the body's serializer. */
  readonly serializer: string
  readonly compression: Compression | 'none'
  readonly celeriac: CeleriacHeader
}

type ForSendersOnly =
  | 'queue'
  | 'keptBy'
  | 'ignoreResult'
  | 'replacedTaskNesting'
  | 'stamps'
  | 'headers'
  | 'serializer'
  | 'compression'

/** A call as a worker reads it. */
export interface TaskMessage extends Omit<TaskCall, ForSendersOnly> {
  /** Null leaves it to the task. */
  readonly ignoreResult: boolean | null
  /** All headers, as they came. */
  readonly headers: Readonly<Record<string, unknown>>
}

export const emptyEmbed: Embed = { callbacks: null, errbacks: null, chain: null, chord: null }

const emptyEmbedJson = JSON.stringify(emptyEmbed)
const origin = `gen${process.pid}@${hostname()}`
const noStamps = {}

/** @throws CeleriacError `PAYLOAD_INVALID` for arguments that the serialization cannot carry */
export function encodeTask(call: TaskCall, nowMs: number, content: Content): OutgoingMessage {
  const { etaMs, expiresMs, stamps } = call
  // First of all, because it refuses what the reprs below could not print either.
  const encoded = encodeBody(call, content)
  const headers = {
    lang: 'js',
    task: call.task,
    id: call.id,
    shadow: call.shadow,
    eta: etaMs === null ? null : isoDate(etaMs),
    expires: expiresMs === null ? null : isoDate(expiresMs),
    group: call.groupId,
    group_index: call.groupIndex,
    retries: call.retries,
    timelimit: [call.timeLimitS, call.softTimeLimitS],
    root_id: call.rootId,
    parent_id: call.parentId,
    argsrepr: argsRepr(call.args),
    kwargsrepr: kwargsRepr(call.kwargs),
    origin,
    ignore_result: call.ignoreResult,
    replaced_task_nesting: call.replacedTaskNesting,
    stamped_headers: stamps === null ? null : Object.keys(stamps),
    stamps: stamps ?? noStamps,
    celeriac: call.celeriac,
    ...(encoded.compression !== undefined && { compression: encoded.compression }),
    ...call.headers,
  }
  return {
    queue: call.queue,
    headers,
    properties: propertiesOf(call, encoded, nowMs),
    body: encoded.body,
    delayMs: etaMs === null || call.keptBy === 'worker' ? 0 : Math.max(0, etaMs - nowMs),
  }
}

/** JSON is put together from its parts, since what follows a task is mostly nothing. */
function encodeBody({ args, kwargs, embed, serializer, compression }: TaskCall, content: Content): Encoded {
  if (serializer !== json.name || compression !== 'none') {
    return content.write([args, kwargs, embed], serializer, compression)
  }
  const embedJson = embed === emptyEmbed ? emptyEmbedJson : encodeJson(embed)
  const { contentType, contentEncoding } = json
  const body = `[${encodeJson(args)},${encodeJson(kwargs)},${embedJson}]`
  return { body, contentType, contentEncoding, compression: undefined }
}

function propertiesOf(call: TaskCall, { contentType, contentEncoding }: Encoded, nowMs: number): Properties {
  return {
    contentType,
    contentEncoding,
    correlationId: call.id,
    ...(call.priority !== undefined && { priority: call.priority }),
    ...(call.replyTo !== null && { replyTo: call.replyTo }),
    ...(call.expiresMs !== null && { expirationMs: Math.ceil(Math.max(0, call.expiresMs - nowMs)) }),
  }
}

/**
 * `2026-11-22T16:16:50.753000+00:00`: the form every supported Python reads. Celery 5.2 takes whatever digits there are for
 * microseconds (`celery/utils/iso8601.py`), and would run a task a second too early for three of them.
 */
export function isoDate(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000+00:00')
}
