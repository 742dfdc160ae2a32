/**
 * Puts calls on their way: completes them from the call's, the task's and the app's settings, turns them into messages,
 * and hands these to the broker; with results on, a PENDING record goes along, so that an id that was sent is known.
 */
import { randomUUID } from 'node:crypto'
import type { Broker, OutgoingMessage } from '../broker/broker.ts'
import type { Limiter } from '../broker/limiter.ts'
import type { AnyCanvas, AnySignature, Canvas, End, ResultOf, Sender } from '../canvas/canvas.ts'
import type { SignatureParts } from '../canvas/signature.ts'
import type { Clock } from '../clock.ts'
import type { Compression } from '../compression.ts'
import { toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { toJsonValue } from '../json.ts'
import { AsyncResult, type ResultSource, storeOf } from '../result/async-result.ts'
import { type GroupResult, groupResult } from '../result/group-result.ts'
import type { ResultRecord, ResultStore } from '../result/result-store.ts'
import { type WaitingJoin, waitingJoins } from '../result/why.ts'
import { accumulateTask, mappedTask, mapTask, starmapTask } from '../task/builtins.ts'
import { type CallOptions, etaOf, expiresOf, refuseMessageHeaders } from '../task/call-options.ts'
import { runningTask } from '../task/context.ts'
import { inputFromWire, validate, type WireArguments } from '../task/input.ts'
import { keyOfArguments, keyOfCall, limitName, type ResolvedUnique } from '../task/limits.ts'
import type { Middleware, SentCall } from '../task/middleware.ts'
import type { Registry, TaskDefinition } from '../task/registry.ts'
import type { Signals } from '../task/signals.ts'
import { expand, type Started, type StartedGroup, type Successor } from './composite.ts'
import type { Content } from './content.ts'
import { nextStarts } from './continuation.ts'
import { derivedIds, type NewId, randomIds } from './derived-id.ts'
import { beginGroups, refuseJoins } from './joins.ts'
import { emptyEmbed, encodeTask, type TaskCall, type TaskMessage } from './message.ts'
import { placesOf } from './places.ts'
import type { Router } from './router.ts'
import type { Embed, WireOptions, WireSignature } from './wire.ts'
import { gathered, plainOptions, wireOf, withResultId } from './wire-canvas.ts'
import { callOptionsOf, stampsOf } from './wire-options.ts'
import { resultOfWire } from './wire-result.ts'
import { sizeOf, tailOf, told } from './wire-shape.ts'

export interface ProducerParts {
  readonly broker: Broker
  readonly results: ResultStore | undefined
  readonly registry: Registry
  readonly router: Router
  readonly clock: Clock
  readonly content: Content
  readonly settings: ProducerSettings
  readonly revoke: ResultSource['revoke']
  readonly signals: Signals
  readonly middleware: readonly Middleware[]
  /** For calls that are unique. @throws CeleriacError `UNSUPPORTED` */
  readonly limiter: () => Promise<Limiter>
}

/** The application's settings, for calls and tasks that do not say otherwise. */
export interface ProducerSettings {
  readonly defaultQueue: string
  readonly defaultPriority: number | undefined
  readonly serializer: string
  readonly compression: Compression | 'none'
  readonly maxMessageBytes: number
}

/** A header has fewer members. */
const placesApart = 1_000_000_000

/** Hands messages to the broker, in whatever way. */
export type Publish = (messages: readonly OutgoingMessage[]) => Promise<void>

/** Where calls stand in a pipeline. */
interface Position {
  readonly rootId: string | null
  readonly parentId: string | null
}

/** Whom it follows; of the body of a chord, whoever started that. */
export interface Predecessor {
  readonly rootId: string
  readonly id: string | null
  readonly replyTo: string | null
  /** The queue that it came from: somebody there runs what every worker has. */
  readonly queue: string
}

/** What follows a task, ready to go. */
export interface Following {
  readonly publish: OutgoingMessage[]
  readonly save: ResultRecord[]
  /** Of the tasks, and of the bodies that wait for some of them. */
  readonly ids: string[]
  /** To be begun before the tasks are sent. */
  readonly groups: readonly StartedGroup[]
}

export class Producer implements Sender {
  readonly #parts: ProducerParts
  readonly #source: ResultSource

  constructor(parts: ProducerParts) {
    this.#parts = parts
    this.#source = { store: parts.results, clock: parts.clock, revoke: parts.revoke }
  }

  send<Gives, Ends extends End>(
    canvas: Canvas<[], Gives, Ends>,
    options: CallOptions = {},
  ): Promise<ResultOf<Gives, Ends>> {
    const any = canvas as unknown as AnyCanvas
    const result = isPlain(any) ? this.#sendSignature(any, options) : this.#sendComposed(any, options)
    return result as Promise<ResultOf<Gives, Ends>>
  }

  /** Many calls of one task, all of them or none, in one round trip. */
  async sendMany(task: string, calls: readonly WireArguments[], options: CallOptions): Promise<AsyncResult[]> {
    const nowMs = this.#parts.clock.now()
    const position = positionHere()
    if (this.#parts.registry.get(task)?.input !== undefined)
      for (const wire of calls) await this.#checkInput(task, wire)
    if (this.#parts.registry.get(task)?.options.unique !== undefined) {
      const ready = calls.map((wire) => this.#call(task, wire, options, position, nowMs))
      return Promise.all(ready.map((call) => this.#sendUnique(call, nowMs)))
    }
    const sent: AsyncResult[] = []
    const call = (wire: WireArguments): TaskCall => {
      const ready = this.#call(task, wire, options, position, nowMs)
      sent.push(this.#resultOf(ready.id, ready.ignoreResult))
      return ready
    }
    const { results, middleware, signals } = this.#parts
    const isWatched = middleware.some(({ send }) => send !== undefined) || signals.has('afterTaskPublish')
    const isPlain = results === undefined && options.countdown === undefined && options.eta === undefined && !isWatched
    if (isPlain) await this.#publishInPassing(calls, call, nowMs)
    else await this.#publish(calls.map(call), nowMs)
    return sent
  }

  /**
   * One call, completed and checked, for `sendWith`. @param atMs when it is to be sent, by which its times are reckoned
   * @throws CeleriacError `INPUT_INVALID`, `PAYLOAD_INVALID`, `CONFIG_INVALID`
   */
  async complete(task: string, wire: WireArguments, options: CallOptions, atMs: number): Promise<TaskCall> {
    await this.#checkInput(task, wire)
    return this.#call(task, wire, options, { rootId: null, parentId: null }, atMs)
  }

  /**
   * Sends calls as `send` does, but for the publishing, which is the caller's. He is called once at most: not when
   * nothing is to be sent, since all were unique calls that were sent before, or a middleware has kept them.
   */
  async sendWith(calls: readonly TaskCall[], publish: Publish): Promise<void> {
    const nowMs = this.#parts.clock.now()
    const claimed = await Promise.all(
      calls.map(async (call) => {
        if (this.#parts.registry.get(call.task)?.options.unique === undefined) return call
        const { key, forMs } = this.#uniqueness(call)
        return (await (await this.#parts.limiter()).claim(key, call.id, forMs)) === call.id ? call : undefined
      }),
    )
    const wanted = claimed.filter((call) => call !== undefined)
    if (wanted.length > 0) await this.#publish(wanted, nowMs, undefined, publish)
  }

  /** Of a call that may have been sent anywhere. */
  result(id: string): AsyncResult {
    return new AsyncResult(id, this.#source)
  }

  /** Of a group whose members are known: those of a chord, or of a group that was sent or saved. */
  async group(id: string): Promise<GroupResult | undefined> {
    const group = await storeOf(this.#source, `group ${id}`).loadGroup(id)
    return group && groupResult(group, this.#source)
  }

  async waitingJoins(): Promise<WaitingJoin[]> {
    return waitingJoins(storeOf(this.#source, 'a chord'))
  }

  /** What follows a task, as messages and PENDING records that its settlement takes along. */
  successors(after: Predecessor, { tasks, groups }: Started): Following {
    const nowMs = this.#parts.clock.now()
    const position = { rootId: after.rootId, parentId: after.id, replyTo: after.replyTo, queue: after.queue }
    const calls = tasks.map((successor) => this.#successorCall(position, successor, nowMs))
    return {
      publish: calls.map((call) => this.#encode(call, nowMs)),
      save: calls.flatMap((call) => this.#pending(call, nowMs, nextStarts(call.id, call.embed.chain))),
      ids: [...calls.map((call) => call.id), ...groups.flatMap(({ bodyId }) => bodyId ?? [])],
      groups,
    }
  }

  /** What a task is replaced with: its last task takes the place of the one that goes, with all that follows from that. */
  replacement(message: TaskMessage, canvas: AnyCanvas, fence: number): Started {
    // Another run may replace itself with something else: its joins must not be mixed with those of this one.
    const newId = derivedIds(`${message.id}/replaced/${fence}`)
    const wire = this.#wire(canvas, {}, newId)
    const one = typeof tailOf(wire) === 'string' ? wire : gathered(wire, newId)
    const { callbacks, errbacks, chain, chord } = message.embed
    const { groupId, groupIndex, headers } = message
    const place = {
      ...(callbacks !== null && { link: callbacks }),
      ...(errbacks !== null && { link_error: errbacks }),
      ...(groupId !== null && { group_id: groupId }),
      ...(groupIndex !== null && { group_index: groupIndex }),
      ...(chord !== null && { chord }),
      replaced_task_nesting: (Number(headers.replaced_task_nesting) || 0) + 1,
    }
    const signature = withResultId(one, message.id, { fence })
    return expand(
      { signature: { ...signature, options: told(signature.options, place) }, partialArgs: [], chain },
      newId,
    )
  }

  /** Members that a running member has added to its chord. */
  additions(message: TaskMessage, canvases: readonly AnyCanvas[], fence: number): Started & { readonly size: number } {
    const newId = derivedIds(`${message.id}/added/${fence}`)
    const { groupId: group_id, groupIndex, embed } = message
    const all: Started = { tasks: [], groups: [] }
    // Behind all of the header, those of one member in their order.
    const firstPlace = placesApart * (1 + (groupIndex ?? 0))
    let size = 0
    for (const canvas of canvases) {
      const wire = this.#wire(canvas, {}, newId)
      const signature = {
        ...wire,
        options: told(wire.options, { group_id, group_index: firstPlace + size, chord: embed.chord }),
      }
      const { tasks, groups } = expand({ signature, partialArgs: [], chain: null }, newId)
      all.tasks.push(...tasks)
      all.groups.push(...groups)
      size += sizeOf(wire)
    }
    return { ...all, size }
  }

  /** Has tasks not run that nobody wants any more. */
  async revoke(ids: readonly string[]): Promise<void> {
    await this.#parts.revoke(ids, {})
  }

  /** Of a call that was sent here: nobody shall wait for a result that is not kept. */
  #resultOf(id: string, isIgnored: boolean): AsyncResult {
    return new AsyncResult(id, isIgnored ? { ...this.#source, store: undefined, isIgnored } : this.#source)
  }

  async #sendSignature({ parts }: AnySignature, options?: CallOptions): Promise<AsyncResult> {
    const checking = this.#checkInput(parts.task, parts)
    if (checking instanceof Promise) await checking
    const nowMs = this.#parts.clock.now()
    const own = options === undefined ? parts.options : { ...parts.options, ...options }
    const call = this.#call(parts.task, parts, own, positionHere(), nowMs)
    if (this.#parts.registry.get(parts.task)?.options.unique !== undefined) return this.#sendUnique(call, nowMs)
    await this.#publish([call], nowMs)
    return this.#resultOf(call.id, call.ignoreResult)
  }

  /** Sends it, unless one with its key was sent a short time ago: then that one's result is the answer. */
  async #sendUnique(call: TaskCall, nowMs: number): Promise<AsyncResult> {
    const { key, forMs } = this.#uniqueness(call)
    const limiter = await this.#parts.limiter()
    const id = await limiter.claim(key, call.id, forMs)
    if (id === call.id) {
      try {
        await this.#publish([call], nowMs)
      } catch (error) {
        // Nothing was sent, so nothing must keep the next one from being sent.
        await limiter.unclaim(key, id).catch(() => undefined)
        throw error
      }
    }
    return this.#resultOf(id, call.ignoreResult)
  }

  /** The name under which a unique call is claimed, and for how long. */
  #uniqueness({ task, args, kwargs }: TaskCall): { readonly key: string; readonly forMs: number } {
    const { input, options } = this.#parts.registry.get(task) as TaskDefinition
    const { key: keyFunction, forMs } = options.unique as ResolvedUnique
    const own =
      keyFunction === undefined
        ? keyOfArguments(args, kwargs)
        : keyOfCall(keyFunction, input !== undefined, args, kwargs)
    return { key: limitName(task, own), forMs }
  }

  async #sendComposed(canvas: AnyCanvas, options: CallOptions): Promise<AsyncResult | GroupResult> {
    for (const parts of completeParts(canvas)) await this.#checkInput(parts.task, parts)
    const nowMs = this.#parts.clock.now()
    const wire = this.#wire(canvas, options, randomIds)
    const started = expand({ signature: wire, partialArgs: [], chain: null }, randomIds)
    const here = positionHere()
    // What is sent as several tasks has the group for its root.
    const position = { ...here, rootId: here.rootId ?? started.groups[0]?.groupId ?? null, replyTo: null }
    const calls = started.tasks.map((task) => this.#successorCall(position, task, nowMs))
    const records = this.#placeRecords(wire, calls, nowMs)
    await this.#begin(started.groups)
    await this.#publish(calls, nowMs, records)
    const parent = runningTask()
    if (parent !== undefined) for (const { bodyId } of started.groups) if (bodyId !== null) parent.addChild(bodyId)
    return this.#resultOfWire(wire)
  }

  /** Has the store know of groups before a member can end. @throws CeleriacError `UNSUPPORTED` where it cannot join */
  async #begin(groups: readonly StartedGroup[]): Promise<void> {
    const { results } = this.#parts
    if (results?.joins !== true) return refuseJoins(groups)
    await beginGroups(groups, results)
  }

  #wire(canvas: AnyCanvas, options: CallOptions, newId: NewId): WireSignature {
    const unsetPriority = this.#unsetPriority
    return wireOf(canvas, options, { plain: (signature, id) => this.#wireStep(signature, id), newId, unsetPriority })
  }

  /** Of the last of its tasks, each knowing the one before it. */
  #resultOfWire(wire: WireSignature): AsyncResult | GroupResult {
    const ignored = new Set(
      placesOf(wire, null).flatMap(({ signature: { options } }) =>
        options.ignore_result === true ? (options.task_id ?? []) : [],
      ),
    )
    // Nobody shall wait for results that are not kept, not even for one among many.
    const sourceOf = (ids: readonly string[]): ResultSource =>
      ids.some((id) => ignored.has(id)) ? { ...this.#source, store: undefined, isIgnored: true } : this.#source
    return resultOfWire(wire, sourceOf, undefined)
  }

  #call(task: string, wire: WireArguments, options: CallOptions, position: Position, nowMs: number): TaskCall {
    const { registry, router, results, settings } = this.#parts
    // A task for each item of a list goes where the items' task would.
    const routed = task === mapTask || task === starmapTask ? (mappedTask(wire.kwargs) ?? task) : task
    const definition = registry.get(routed)
    const route = router(routed, wire.args, wire.kwargs)
    const id = options.taskId ?? randomUUID()
    const etaMs = etaOf(options, nowMs)
    const own = definition?.options
    return {
      task,
      id,
      queue: options.queue ?? own?.queue ?? route.queue ?? settings.defaultQueue,
      args: wire.args,
      kwargs: options.kwargs === undefined ? wire.kwargs : this.#withKeywords(task, wire, options.kwargs),
      embed: emptyEmbed,
      rootId: position.rootId ?? id,
      parentId: position.parentId,
      groupId: null,
      groupIndex: null,
      retries: 0,
      etaMs,
      // A task of others may be one of Python's; those must get it, should no worker of ours be left to send it on.
      keptBy: definition === undefined ? 'worker' : 'broker',
      expiresMs: expiresOf(options, nowMs) ?? (own?.expiresMs === undefined ? null : nowMs + own.expiresMs),
      ignoreResult: options.ignoreResult ?? own?.ignoreResult ?? false,
      ...timeLimits(options),
      priority: options.priority ?? own?.priority ?? route.priority ?? settings.defaultPriority,
      replyTo: results?.replyTo ?? null,
      shadow: null,
      replacedTaskNesting: 0,
      stamps: null,
      headers: options.headers === undefined ? null : (toJsonValue(options.headers) as TaskCall['headers']),
      serializer: options.serializer ?? own?.serializer ?? settings.serializer,
      compression: options.compression ?? own?.compression ?? settings.compression,
      celeriac: { sent: etaMs ?? nowMs },
    }
  }

  /** @throws CeleriacError `CONFIG_INVALID` for a task with a schema */
  #withKeywords(
    task: string,
    { kwargs }: WireArguments,
    more: NonNullable<CallOptions['kwargs']>,
  ): WireArguments['kwargs'] {
    if (this.#parts.registry.get(task)?.input === undefined) return { ...kwargs, ...more }
    throw new CeleriacError(
      'CONFIG_INVALID',
      `task '${task}' takes the one input of its schema, and no \`kwargs\` beside it`,
    )
  }

  /** A call as it travels inside of others: with its id, and with the queue this side would route it to. */
  #wireStep({ parts }: AnySignature, id: string): WireSignature {
    const nowMs = this.#parts.clock.now()
    const call = this.#call(parts.task, parts, parts.options, { rootId: null, parentId: null }, nowMs)
    const { priority: _priority, ...own } = parts.options
    const options: WireOptions = {
      task_id: id,
      ...(call.replyTo !== null && { reply_to: call.replyTo }),
      queue: call.queue,
      ...plainOptions({ ...own, ...(call.priority !== undefined && { priority: call.priority }) }, this.#unsetPriority),
      ...(call.timeLimitS !== null && { time_limit: call.timeLimitS }),
      ...(call.softTimeLimitS !== null && { soft_time_limit: call.softTimeLimitS }),
      ...(call.ignoreResult && { ignore_result: true }),
      ...(call.headers !== null && { headers: call.headers }),
    }
    const { task, args, immutable } = parts
    return { task, args, kwargs: call.kwargs, options, subtask_type: null, immutable }
  }

  #successorCall(
    after: Position & { readonly replyTo: string | null; readonly queue?: string },
    { signature, partialArgs, chain }: Successor,
    nowMs: number,
  ): TaskCall {
    const { task, options, immutable } = signature
    const wire = { args: immutable ? signature.args : [...partialArgs, ...signature.args], kwargs: signature.kwargs }
    const call = this.#call(task, wire, this.#optionsOf(options), after, nowMs)
    const embed: Embed = {
      callbacks: options.link ?? null,
      errbacks: options.link_error ?? null,
      chain: chain ?? options.chain ?? null,
      chord: options.chord ?? null,
    }
    const { celeriac } = options
    return {
      ...call,
      ...(task === accumulateTask && after.queue !== undefined && options.queue == null && { queue: after.queue }),
      embed,
      groupId: options.group_id ?? null,
      groupIndex: options.group_index ?? null,
      replyTo: options.reply_to ?? after.replyTo,
      shadow: options.shadow ?? null,
      replacedTaskNesting: typeof options.replaced_task_nesting === 'number' ? options.replaced_task_nesting : 0,
      stamps: stampsOf(options),
      ...(typeof celeriac?.fence === 'number' && { celeriac: { ...call.celeriac, fence: celeriac.fence } }),
    }
  }

  /**
   * Publishes what is neither delayed nor recorded. Each message is made, encoded and forgotten before the next: made all
   * at once, a thousand cost half as much again.
   */
  async #publishInPassing(
    wires: readonly WireArguments[],
    toCall: (wire: WireArguments) => TaskCall,
    nowMs: number,
  ): Promise<void> {
    const parent = runningTask()
    const ids: string[] = []
    const encode = (wire: WireArguments): OutgoingMessage => {
      const call = toCall(wire)
      if (parent !== undefined) ids.push(call.id)
      return this.#encode(call, nowMs)
    }
    await this.#parts.broker.publish(mapped(wires, encode))
    for (const id of ids) parent?.addChild(id)
  }

  /** Publishes and records in one turn, so that a store that is both commits them together. */
  /** Through the middleware, the first one outermost. */
  async #publish(
    calls: readonly TaskCall[],
    nowMs: number,
    records?: readonly ResultRecord[],
    publish: Publish = (messages) => this.#parts.broker.publish(messages),
  ): Promise<void> {
    const around = this.#parts.middleware.filter(({ send }) => send !== undefined)
    if (around.length === 0) return this.#send(calls, nowMs, records, publish)
    const byId = new Map(calls.map((call) => [call.id, call]))
    const sendFrom = (at: number, sent: readonly SentCall[]): Promise<void> => {
      const next = around[at]
      if (next !== undefined)
        return (next.send as NonNullable<Middleware['send']>)(sent, (more) => sendFrom(at + 1, more))
      const ready = sent.map(({ id, headers }): TaskCall => {
        const call = byId.get(id)
        if (call === undefined)
          throw new CeleriacError('CONFIG_INVALID', `a middleware sent a call that was not given to it: ${id}`)
        return { ...call, headers: ownHeaders(headers) }
      })
      return this.#send(ready, nowMs, records, publish)
    }
    await sendFrom(0, calls.map(sentCallOf))
  }

  async #send(
    calls: readonly TaskCall[],
    nowMs: number,
    records: readonly ResultRecord[] | undefined,
    publish: Publish,
  ): Promise<void> {
    const { broker, results, signals } = this.#parts
    const messages: OutgoingMessage[] = []
    for (const call of calls) messages.push(this.#encode(call, nowMs))
    const outgoing = messages.length > 1 ? shortened(messages, () => this.#parts.clock.now() - nowMs) : messages
    const pending = results === undefined ? [] : (records ?? calls.flatMap((call) => this.#pending(call, nowMs)))
    if (results === undefined || pending.length === 0) await publish(outgoing)
    else if (results.sharesStorageWith(broker)) await Promise.all([publish(outgoing), results.save(pending)])
    else {
      await results.save(pending)
      await publish(outgoing)
    }
    const parent = runningTask()
    if (parent !== undefined) for (const call of calls) parent.addChild(call.id)
    if (signals.has('afterTaskPublish')) {
      for (const { task, id, queue } of calls) signals.send('afterTaskPublish', { task, id, queue })
    }
  }

  /** With what listeners have put into its headers. */
  #announced(call: TaskCall): TaskCall {
    const { signals } = this.#parts
    if (!signals.has('beforeTaskPublish')) return call
    const { task, id, queue, args, kwargs } = call
    const headers = { ...call.headers }
    signals.send('beforeTaskPublish', { task, id, queue, args, kwargs, headers })
    return { ...call, headers: ownHeaders(headers) }
  }

  #encode(call: TaskCall, nowMs: number): OutgoingMessage {
    const { settings, broker, content } = this.#parts
    const message = encodeTask(this.#announced(call), nowMs, content)
    const limit = Math.min(settings.maxMessageBytes, broker.capabilities.maxMessageBytes)
    if (message.body.length * 3 > limit && Buffer.byteLength(message.body) > limit) {
      throw new CeleriacError(
        'PAYLOAD_TOO_LARGE',
        `a call of '${call.task}' takes ${Buffer.byteLength(message.body)} bytes, more than the ${limit} allowed; ` +
          'send a reference to the data instead of the data, or raise `maxMessageSize`',
      )
    }
    // Where the broker keeps nothing back for so long, it comes early, and the worker gives it back until it is due.
    const { maxDelayMs } = broker.capabilities
    return (message.delayMs ?? 0) > maxDelayMs ? { ...message, delayMs: maxDelayMs } : message
  }

  #pending(call: TaskCall, nowMs: number, children: readonly string[] = []): ResultRecord[] {
    if (this.#parts.results === undefined || call.ignoreResult) return []
    return [pendingRecord(call, nowMs, children)]
  }

  /** A record for each task in it, sent or to come, so that the whole pipeline is known from the start. */
  #placeRecords(wire: WireSignature, sent: readonly TaskCall[], nowMs: number): ResultRecord[] {
    if (this.#parts.results === undefined) return []
    const calls = new Map(sent.map((call) => [call.id, call]))
    const root = sent[0]?.rootId ?? null
    return placesOf(wire, null).flatMap(({ signature, parentId, children }) => {
      const { task, options } = signature
      const known = calls.get(options.task_id as string)
      if (known !== undefined) return this.#pending(known, nowMs, children)
      const position = { rootId: root, parentId: parentId ?? sent[0]?.parentId ?? null }
      const call = this.#call(task, signature, this.#optionsOf(options), position, nowMs)
      return this.#pending({ ...call, groupId: options.group_id ?? null, celeriac: {} }, nowMs, children)
    })
  }

  #optionsOf(options: WireOptions): CallOptions {
    return callOptionsOf(options, this.#unsetPriority, (name) => this.#parts.content.writes(name))
  }

  get #unsetPriority(): number {
    return this.#parts.broker.capabilities.unsetPriority
  }

  #checkInput(task: string, { args, kwargs }: WireArguments): unknown {
    const definition: TaskDefinition | undefined = this.#parts.registry.get(task)
    return definition?.input === undefined ? undefined : validate(definition.input, inputFromWire(args, kwargs), task)
  }
}

/** What listeners and middleware have made of a call's own headers, as the wire takes them. */
function ownHeaders(headers: Readonly<Record<string, unknown>>): TaskCall['headers'] {
  refuseMessageHeaders(headers)
  return toJsonValue(headers) as TaskCall['headers']
}

/** A call without anything behind it. */
function isPlain(canvas: AnyCanvas): canvas is AnySignature {
  if (canvas.kind !== 'signature') return false
  const { links, errorLinks, stamps } = canvas.told
  return links.length + errorLinks.length + Object.keys(stamps).length === 0
}

/** Those calls in it that have all their arguments: the ones that start, and the immutable ones. */
function completeParts(canvas: AnyCanvas, isStart = true): SignatureParts[] {
  switch (canvas.kind) {
    case 'signature':
      return isStart || canvas.parts.immutable ? [canvas.parts] : []
    case 'chain':
      return canvas.steps.flatMap((step, index) => completeParts(step, isStart && index === 0))
    case 'group':
      return canvas.members.flatMap((member) => completeParts(member, isStart))
    case 'chord':
      return [...completeParts(canvas.header, isStart), ...completeParts(canvas.body, false)]
  }
}

function sentCallOf({ task, id, queue, args, kwargs, headers }: TaskCall): SentCall {
  return { task, id, queue, args, kwargs, headers: headers ?? {} }
}

function* mapped<From, To>(items: readonly From[], map: (item: From) => To): Generator<To> {
  for (const item of items) yield map(item)
}

/** Making ten thousand messages takes a while, by which their delays would be too long. */
function shortened(messages: OutgoingMessage[], took: () => number): OutgoingMessage[] {
  if (messages.every(({ delayMs = 0 }) => delayMs === 0)) return messages
  const tookMs = took()
  return messages.map((message) => ({ ...message, delayMs: Math.max(0, (message.delayMs ?? 0) - tookMs) }))
}

/** What is known of a call before any worker has it. */
function pendingRecord(call: TaskCall, nowMs: number, children: readonly string[]): ResultRecord {
  return {
    taskId: call.id,
    status: 'PENDING',
    result: null,
    traceback: null,
    children,
    dateDone: null,
    parentId: call.parentId,
    rootId: call.rootId,
    groupId: call.groupId,
    name: call.task,
    queue: call.queue,
    worker: null,
    retries: 0,
    replyTo: call.replyTo,
    sentAt: call.celeriac.sent === undefined ? null : nowMs,
    startedAt: null,
    doneAt: null,
    fence: 0,
  }
}

function positionHere(): Position {
  const parent = runningTask()
  return { rootId: parent?.rootId ?? null, parentId: parent?.taskId ?? null }
}

function timeLimits(options: CallOptions): { timeLimitS: number | null; softTimeLimitS: number | null } {
  const { timeLimit, softTimeLimit } = options
  return {
    timeLimitS: timeLimit === undefined ? null : toMs(timeLimit, 'timeLimit') / 1_000,
    softTimeLimitS: softTimeLimit === undefined ? null : toMs(softTimeLimit, 'softTimeLimit') / 1_000,
  }
}
