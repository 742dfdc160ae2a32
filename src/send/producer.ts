/**
 * Puts calls on their way: completes them from the call's, the task's and the app's settings, turns them into messages,
 * and hands these to the broker; with results on, a PENDING record goes along, so that an id that was sent is known.
 */
import { randomUUID } from 'node:crypto'
import type { Broker, OutgoingMessage } from '../broker/broker.ts'
import type { Limiter } from '../broker/limiter.ts'
import type { AnySignature, Chain } from '../canvas/chain.ts'
import type { Sender, Signature } from '../canvas/signature.ts'
import type { Clock } from '../clock.ts'
import type { Compression } from '../compression.ts'
import { toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { toJsonValue } from '../json.ts'
import { AsyncResult, type ResultSource } from '../result/async-result.ts'
import type { ResultRecord, ResultStore } from '../result/result-store.ts'
import { type CallOptions, etaOf, expiresOf, refuseMessageHeaders } from '../task/call-options.ts'
import { runningTask } from '../task/context.ts'
import { inputFromWire, validate, type WireArguments } from '../task/input.ts'
import { keyOfArguments, keyOfCall, limitName, type ResolvedUnique } from '../task/limits.ts'
import type { Middleware, SentCall } from '../task/middleware.ts'
import type { Registry, TaskDefinition } from '../task/registry.ts'
import type { Signals } from '../task/signals.ts'
import type { Successor } from './composite.ts'
import type { Content } from './content.ts'
import { emptyEmbed, encodeTask, isoDate, type TaskCall, type TaskMessage } from './message.ts'
import type { Router } from './router.ts'
import type { Embed, WireOptions, WireSignature } from './wire.ts'
import { callOptionsOf, stampsOf, turnedPriority } from './wire-options.ts'

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

/** Where calls stand in a pipeline. */
interface Position {
  readonly rootId: string | null
  readonly parentId: string | null
}

export class Producer implements Sender {
  readonly #parts: ProducerParts
  readonly #source: ResultSource

  constructor(parts: ProducerParts) {
    this.#parts = parts
    this.#source = { store: parts.results, clock: parts.clock, revoke: parts.revoke }
  }

  send<Gives>(canvas: Signature<[], Gives> | Chain<Gives>, options?: CallOptions): Promise<AsyncResult<Gives>> {
    const result =
      canvas.kind === 'chain' ? this.#sendChain(canvas.steps, options) : this.#sendSignature(canvas, options)
    return result as Promise<AsyncResult<Gives>>
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

  /** Of a call that may have been sent anywhere. */
  result(id: string): AsyncResult {
    return new AsyncResult(id, this.#source)
  }

  /** What follows a task, as messages and PENDING records that its settlement takes along. */
  successors(
    after: TaskMessage,
    successors: readonly Successor[],
  ): { publish: OutgoingMessage[]; save: ResultRecord[]; ids: string[] } {
    const nowMs = this.#parts.clock.now()
    const calls = successors.map((successor) => this.#successorCall(after, successor, nowMs))
    return {
      publish: calls.map((call) => this.#encode(call, nowMs)),
      save: calls.flatMap((call) => this.#pending(call, nowMs, nextStepId(call.embed))),
      ids: calls.map((call) => call.id),
    }
  }

  /** Of a call that was sent here: nobody shall wait for a result that is not kept. */
  #resultOf(id: string, isIgnored: boolean, parent?: AsyncResult): AsyncResult {
    return new AsyncResult(id, isIgnored ? { ...this.#source, store: undefined, isIgnored } : this.#source, parent)
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
    const { registry, limiter: open } = this.#parts
    const { input, options } = registry.get(call.task) as TaskDefinition
    const { key: keyFunction, forMs } = options.unique as ResolvedUnique
    const { args, kwargs } = call
    const own =
      keyFunction === undefined
        ? keyOfArguments(args, kwargs)
        : keyOfCall(keyFunction, input !== undefined, args, kwargs)
    const key = limitName(call.task, own)
    const limiter = await open()
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

  async #sendChain(steps: readonly AnySignature[], options: CallOptions = {}): Promise<AsyncResult> {
    const [first, ...rest] = steps as [AnySignature, ...AnySignature[]]
    if (rest.length === 0) return this.#sendSignature(first, options)
    await this.#checkInput(first.parts.task, first.parts)
    for (const { parts } of rest) if (parts.immutable) await this.#checkInput(parts.task, parts)
    const nowMs = this.#parts.clock.now()
    const position = positionHere()
    const { taskId: lastId, ...firstOptions } = options
    const call = this.#call(first.parts.task, first.parts, { ...first.parts.options, ...firstOptions }, position, nowMs)
    const wire = rest.map((step, index) => this.#wireStep(step, index === rest.length - 1 ? lastId : undefined))
    const records = this.#chainRecords(call, wire, nowMs)
    await this.#publish([{ ...call, embed: { ...call.embed, chain: [...wire].reverse() } }], nowMs, records)
    let result = this.#resultOf(call.id, call.ignoreResult)
    for (const { options: step } of wire) {
      result = this.#resultOf(step.task_id as string, step.ignore_result === true, result)
    }
    return result
  }

  #call(task: string, wire: WireArguments, options: CallOptions, position: Position, nowMs: number): TaskCall {
    const { registry, router, results, settings } = this.#parts
    const definition = registry.get(task)
    const route = router(task, wire.args, wire.kwargs)
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

  /** A step as it travels behind the first: with its id, and with the queue this side would route it to. */
  #wireStep({ parts }: AnySignature, id: string | undefined): WireSignature {
    const nowMs = this.#parts.clock.now()
    const call = this.#call(parts.task, parts, parts.options, { rootId: null, parentId: null }, nowMs)
    const { countdown, eta, expires, serializer, compression } = parts.options
    const options: WireOptions = {
      task_id: id ?? call.id,
      ...(call.replyTo !== null && { reply_to: call.replyTo }),
      queue: call.queue,
      ...(call.priority !== undefined && { priority: turnedPriority(call.priority, this.#unsetPriority) }),
      ...(countdown !== undefined && { countdown: toMs(countdown, 'countdown') / 1_000 }),
      ...(eta !== undefined && { eta: isoDate(eta.getTime()) }),
      ...(expires !== undefined && {
        expires: expires instanceof Date ? isoDate(expires.getTime()) : toMs(expires, 'expires') / 1_000,
      }),
      ...(call.timeLimitS !== null && { time_limit: call.timeLimitS }),
      ...(call.softTimeLimitS !== null && { soft_time_limit: call.softTimeLimitS }),
      ...(call.ignoreResult && { ignore_result: true }),
      ...(call.headers !== null && { headers: call.headers }),
      ...(serializer !== undefined && { serializer }),
      // Celery has no word for none.
      ...(compression !== undefined && compression !== 'none' && { compression }),
    }
    const { task, args, immutable } = parts
    return { task, args, kwargs: call.kwargs, options, subtask_type: null, immutable }
  }

  #successorCall(after: TaskMessage, { signature, partialArgs, chain }: Successor, nowMs: number): TaskCall {
    const { task, options, immutable } = signature
    const wire = { args: immutable ? signature.args : [...partialArgs, ...signature.args], kwargs: signature.kwargs }
    const call = this.#call(task, wire, this.#optionsOf(options), { rootId: after.rootId, parentId: after.id }, nowMs)
    const embed: Embed = {
      callbacks: options.link ?? null,
      errbacks: options.link_error ?? null,
      chain: chain ?? options.chain ?? null,
      chord: options.chord ?? null,
    }
    return {
      ...call,
      embed,
      groupId: options.group_id ?? null,
      groupIndex: options.group_index ?? null,
      replyTo: options.reply_to ?? after.replyTo,
      shadow: options.shadow ?? null,
      replacedTaskNesting: typeof options.replaced_task_nesting === 'number' ? options.replaced_task_nesting : 0,
      stamps: stampsOf(options),
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
  async #publish(calls: readonly TaskCall[], nowMs: number, records?: readonly ResultRecord[]): Promise<void> {
    const around = this.#parts.middleware.filter(({ send }) => send !== undefined)
    if (around.length === 0) return this.#send(calls, nowMs, records)
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
      return this.#send(ready, nowMs, records)
    }
    await sendFrom(0, calls.map(sentCallOf))
  }

  async #send(calls: readonly TaskCall[], nowMs: number, records?: readonly ResultRecord[]): Promise<void> {
    const { broker, results, signals } = this.#parts
    const messages: OutgoingMessage[] = []
    for (const call of calls) messages.push(this.#encode(call, nowMs))
    const outgoing = messages.length > 1 ? shortened(messages, () => this.#parts.clock.now() - nowMs) : messages
    const pending = results === undefined ? [] : (records ?? calls.flatMap((call) => this.#pending(call, nowMs)))
    if (results === undefined || pending.length === 0) await broker.publish(outgoing)
    else if (results.sharesStorageWith(broker)) await Promise.all([broker.publish(outgoing), results.save(pending)])
    else {
      await results.save(pending)
      await broker.publish(outgoing)
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

  /** The first step's record and one for each step to come, so that the whole pipeline is known from the start. */
  #chainRecords(first: TaskCall, steps: readonly WireSignature[], nowMs: number): ResultRecord[] {
    const ids = [first.id, ...steps.map((step) => step.options.task_id as string)]
    const later = steps.flatMap((step, index) => {
      const position = { rootId: first.rootId, parentId: ids[index] as string }
      const call = this.#call(step.task, step, this.#optionsOf(step.options), position, nowMs)
      return this.#pending({ ...call, celeriac: {} }, nowMs, ids.slice(index + 2, index + 3))
    })
    return [...this.#pending(first, nowMs, ids.slice(1, 2)), ...later]
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

function nextStepId({ chain }: Embed): string[] {
  const id = chain?.[chain.length - 1]?.options.task_id
  return id === undefined ? [] : [id]
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
