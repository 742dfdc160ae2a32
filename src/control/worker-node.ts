/** A worker as a node of its fleet: its remote control, its events, its heartbeat, and what it knows to be revoked. */
import type { Broker } from '../broker/broker.ts'
import { type Bus, eventTopic, type Subscription } from '../broker/bus.ts'
import type { Clock } from '../clock.ts'
import type { AppConfig } from '../config.ts'
import { EventDispatcher } from '../events/dispatcher.ts'
import { LamportClock } from '../events/lamport-clock.ts'
import type { Logger } from '../logger.ts'
import type { Registry } from '../task/registry.ts'
import type { Worker } from '../work/worker.ts'
import { ping, workerCommands } from './commands.ts'
import { Heartbeat } from './heartbeat.ts'
import { type Command, Node } from './node.ts'
import { Revocations } from './revocations.ts'
import { taskEvents } from './task-events.ts'

export interface WorkerNodeParts {
  readonly worker: Worker
  readonly broker: Broker
  readonly bus: Bus
  readonly registry: Registry
  readonly config: AppConfig
  readonly clock: Clock
  readonly logger: Logger
  /** Whether task events are sent from the start. */
  readonly sendsTaskEvents: boolean
}

export class WorkerNode {
  readonly events: EventDispatcher
  readonly #parts: WorkerNodeParts
  readonly #lamport = new LamportClock()
  readonly #heartbeat: Heartbeat
  readonly #revocations: Revocations
  readonly #node: Node
  readonly #commands: Map<string, Command>
  #endPings: () => void = () => undefined
  #elections: Subscription | undefined
  #stopped: Promise<void> | undefined

  constructor(parts: WorkerNodeParts) {
    const { worker, bus, clock, logger, sendsTaskEvents } = parts
    const { name } = worker
    const lamport = this.#lamport
    this.#parts = parts
    this.events = new EventDispatcher({ bus, clock, lamport, logger, hostname: name }, sendsTaskEvents)
    this.#heartbeat = new Heartbeat(worker, this.events)
    this.#revocations = new Revocations({ ...parts, revoked: worker.revoked })
    const all = workerCommands({
      ...parts,
      lamport,
      events: this.events,
      heartbeat: this.#heartbeat,
      revocations: this.#revocations,
    })
    this.#commands = new Map(all)
    this.#node = new Node({ bus, lamport, logger, name, commands: this.#commands })
    worker.observe(taskEvents(this.events))
  }

  /** Once it resolves the worker is heard and can be told; nothing that was revoked before it would be run. */
  async start(): Promise<void> {
    const { bus, broker, worker } = this.#parts
    await Promise.all([this.#node.start(), this.#revocations.start()])
    this.#elections = await bus.subscribe([`${eventTopic}.worker.elect`], ({ payload }) => this.#acknowledge(payload))
    await this.#heartbeat.start()
    this.#endPings = broker.answerPings(worker.name, (isAnswering) => this.#answerPings(!isAnswering))
  }

  /** Where the broker's driver answers them, whatever holds up this event loop, it is not answered twice. */
  #answerPings(isHere: boolean): void {
    if (isHere) this.#commands.set('ping', ping)
    else this.#commands.set('ping', () => undefined)
  }

  /** A second call joins the first. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    this.#endPings()
    await this.#heartbeat.stop()
    await Promise.all([this.#node.stop(), this.#revocations.stop(), this.#elections?.close()])
  }

  /** Whoever asks for an election waits for every node that is alive; a worker of ours never stands for one. */
  #acknowledge(payload: unknown): void {
    const { id, clock } = (payload ?? {}) as { id?: unknown; clock?: unknown }
    this.#lamport.observe(clock)
    if (typeof id === 'string') void this.events.send('worker-elect-ack', { id })
  }
}
