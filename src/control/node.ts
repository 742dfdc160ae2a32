/**
 * A worker's end of remote control, Celery's pidbox: hears every command, carries out those that are for it, and answers
 * those who asked.
 *
 * Anybody may send anything here. What is no command is ignored, one that fails is answered with its error, and none can
 * end the worker or make it deaf.
 */

import { isFor } from '../broker/addressed.ts'
import { type Bus, type BusMessage, controlTopic, type Subscription } from '../broker/bus.ts'
import type { LamportClock } from '../events/lamport-clock.ts'
import type { Logger } from '../logger.ts'
import { nameAndMessage } from '../result/stored-error.ts'
import { errorRepr } from '../send/repr.ts'

/** What a command answers; undefined for those that answer nothing. */
export type Command = (commandArguments: Readonly<Record<string, unknown>>) => unknown

export interface NodeParts {
  readonly bus: Bus
  readonly lamport: LamportClock
  readonly logger: Logger
  readonly name: string
  /** By Celery's names. */
  readonly commands: ReadonlyMap<string, Command>
}

/** A command that cannot be carried out, for a reason that Python's workers name by an exception of theirs. */
export class Refusal extends Error {
  constructor(pythonName: string, message: string) {
    super(message)
    this.name = pythonName
  }
}

export class Node {
  readonly #parts: NodeParts
  #subscription: Subscription | undefined

  constructor(parts: NodeParts) {
    this.#parts = parts
  }

  async start(): Promise<void> {
    this.#subscription = await this.#parts.bus.subscribe([controlTopic], (message) => void this.#hear(message))
  }

  async stop(): Promise<void> {
    await this.#subscription?.close()
  }

  async #hear({ payload, headers, reply }: BusMessage): Promise<void> {
    const { name, lamport, logger } = this.#parts
    lamport.observe(headers.clock)
    if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return
    const { method, arguments: given, ...addressed } = payload as { method?: unknown; arguments?: unknown }
    if (typeof method !== 'string' || !isFor(name, addressed)) return
    const answer = await this.#run(method, given)
    if (answer === undefined || reply === undefined) return
    reply({ [name]: answer }, { clock: lamport.tick() }).catch((error) => {
      logger.debug({ worker: name, method, error }, 'a reply to a remote control command could not be sent')
    })
  }

  async #run(method: string, given: unknown): Promise<unknown> {
    const { commands, logger, name } = this.#parts
    try {
      const command = commands.get(method)
      if (command === undefined) throw new Refusal('KeyError', method)
      const isObject = typeof given === 'object' && given !== null && !Array.isArray(given)
      return await command(isObject ? (given as Record<string, unknown>) : {})
    } catch (error) {
      logger.warn({ worker: name, method, error }, 'a remote control command was refused')
      const { name: type, message } = nameAndMessage(error)
      return { error: errorRepr(type, message) }
    }
  }
}
