/** Commands to the workers: Celery's `app.control`. */
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { refuseUnknown, wholeNumber } from '../options.ts'
import {
  type ControlOptions,
  checkControlOptions,
  checkInspectOptions,
  controlOptions,
  type InspectOptions,
} from './addressing.ts'
import { Inspect } from './inspect.ts'
import { type Arguments, Mailbox, type MailboxParts } from './mailbox.ts'
import type { OkReply, Replies } from './replies.ts'

export interface RevokeOptions extends ControlOptions {
  /** Also end the task where it is running. @default false */
  readonly terminate?: boolean | undefined
  /** How it is ended: the name or number of a signal. @default 'SIGTERM' */
  readonly signal?: string | number | undefined
}

export interface AddConsumerOptions extends ControlOptions {
  /** Of Celery's AMQP queues. @default the queue's name */
  readonly exchange?: string | undefined
  /** @default 'direct' */
  readonly exchangeType?: string | undefined
  /** @default the queue's name */
  readonly routingKey?: string | undefined
}

/**
 * Tells the workers what to do. Each command goes to all of them, or to those that `destination` or `pattern` name, and
 * resolves once it is on its way; with `reply: true` to what each worker said, by node name. Who answers nothing within
 * the timeout is missing there; `isErrorReply` tells who refused.
 *
 * `heartbeat`, `shutdown` and `election` are never answered.
 */
export class Control {
  readonly #mailbox: Mailbox

  constructor(parts: MailboxParts) {
    this.#mailbox = new Mailbox(parts)
  }

  /** Questions to the workers. @throws CeleriacError `CONFIG_INVALID` */
  inspect(options: InspectOptions = {}): Inspect {
    return new Inspect(this.#mailbox, checkInspectOptions(options))
  }

  /** Who is there. Always waits for answers. */
  ping(options: InspectOptions = {}): Promise<Replies<OkReply>> {
    return this.#tell('ping', {}, { ...options, reply: true })
  }

  /**
   * Any command, by its name on the wire; workers may have some of their own.
   * @throws CeleriacError `CONFIG_INVALID`
   */
  async broadcast<Reply = unknown>(
    method: string,
    commandArguments: Arguments = {},
    options: ControlOptions = {},
  ): Promise<Replies<Reply>> {
    return this.#tell<Reply>(checkText(method, 'method'), commandArguments, options)
  }

  /**
   * Tasks that are not to be run, by any worker of ours, those that start later included; with `terminate`, not to go on
   * either. @throws CeleriacError `CONFIG_INVALID`
   */
  async revoke(ids: string | readonly string[], options: RevokeOptions = {}): Promise<Replies<OkReply>> {
    const { terminate = false, signal = 'SIGTERM', ...rest } = options
    const revoked = checkIds(ids)
    checkControlOptions(rest)
    await this.#mailbox.remember(typeof revoked === 'string' ? [revoked] : revoked)
    return this.#tell('revoke', { task_id: revoked, terminate, signal }, rest)
  }

  /** `revoke` with `terminate`. @throws CeleriacError `CONFIG_INVALID` */
  terminate(
    ids: string | readonly string[],
    options: Omit<RevokeOptions, 'terminate'> = {},
  ): Promise<Replies<OkReply>> {
    return this.revoke(ids, { ...options, terminate: true })
  }

  /** Tasks that carry one of these stamps. Since Celery 5.3. @throws CeleriacError `CONFIG_INVALID` */
  async revokeByStampedHeaders(
    headers: Readonly<Record<string, string | readonly string[]>>,
    options: RevokeOptions = {},
  ): Promise<Replies<OkReply>> {
    const { terminate = false, signal = 'SIGTERM', ...rest } = options
    const stamps = Object.entries(headers).map(([name, values]) => [
      name,
      typeof values === 'string' ? [values] : values,
    ])
    if (stamps.length === 0) throw invalid('`headers` must name at least one stamp', headers)
    return this.#tell('revoke_by_stamped_headers', { headers: Object.fromEntries(stamps), terminate, signal }, rest)
  }

  /**
   * How many of a task each worker starts: `'10/s'`, `'100/m'`, `'1000/h'`, a number per second; null or 0 lifts it.
   * @throws CeleriacError `CONFIG_INVALID`
   */
  async rateLimit(
    taskName: string,
    rateLimit: string | number | null,
    options: ControlOptions = {},
  ): Promise<Replies<OkReply>> {
    const isRate =
      rateLimit === null ||
      (typeof rateLimit === 'number' && rateLimit >= 0 && Number.isFinite(rateLimit)) ||
      (typeof rateLimit === 'string' && /^\d+(\.\d+)?(\/[smh])?$/.test(rateLimit))
    if (!isRate)
      throw invalid("`rateLimit` must be such as '10/s', '100/m', '1000/h', a number per second or null", rateLimit)
    return this.#tell('rate_limit', { task_name: checkText(taskName, 'taskName'), rate_limit: rateLimit }, options)
  }

  /** Time limits of a task, from its next run on; without one it has none. @throws CeleriacError `CONFIG_INVALID` */
  async timeLimit(
    taskName: string,
    options: ControlOptions & {
      readonly soft?: Duration | null | undefined
      readonly hard?: Duration | null | undefined
    },
  ): Promise<Replies<OkReply>> {
    const { soft, hard, ...rest } = options
    const seconds = (value: Duration | null | undefined, name: string): number | null =>
      value === undefined || value === null ? null : toMs(value, name) / 1_000
    const limits = { hard: seconds(hard, 'hard'), soft: seconds(soft, 'soft') }
    return this.#tell('time_limit', { task_name: checkText(taskName, 'taskName'), ...limits }, rest)
  }

  /** More slots. @throws CeleriacError `CONFIG_INVALID` */
  async poolGrow(n = 1, options: ControlOptions = {}): Promise<Replies<OkReply>> {
    return this.#tell('pool_grow', { n: wholeNumber(n, 'n', 1) }, options)
  }

  /** Fewer slots. @throws CeleriacError `CONFIG_INVALID` */
  async poolShrink(n = 1, options: ControlOptions = {}): Promise<Replies<OkReply>> {
    return this.#tell('pool_shrink', { n: wholeNumber(n, 'n', 1) }, options)
  }

  /** New processes; with `reload`, Python's workers load the modules again. @throws CeleriacError `CONFIG_INVALID` */
  poolRestart(
    options: ControlOptions & {
      readonly modules?: readonly string[] | undefined
      readonly reload?: boolean | undefined
    } = {},
  ): Promise<Replies<OkReply>> {
    const { modules, reload = false, ...rest } = options
    return this.#tell('pool_restart', { modules: modules ?? null, reload, reloader: null }, rest)
  }

  /** Bounds of a pool that scales itself. @throws CeleriacError `CONFIG_INVALID` */
  async autoscale(max: number, min: number, options: ControlOptions = {}): Promise<Replies<OkReply>> {
    wholeNumber(max, 'max', 1)
    wholeNumber(min, 'min', 0, max)
    return this.#tell('autoscale', { max, min }, options)
  }

  /** One queue more to consume. @throws CeleriacError `CONFIG_INVALID` */
  async addConsumer(queue: string, options: AddConsumerOptions = {}): Promise<Replies<OkReply>> {
    const { exchange, exchangeType = 'direct', routingKey, ...rest } = options
    const where = { exchange: exchange ?? null, exchange_type: exchangeType, routing_key: routingKey ?? null }
    return this.#tell('add_consumer', { queue: checkText(queue, 'queue'), ...where }, rest)
  }

  /** A queue no longer to consume. @throws CeleriacError `CONFIG_INVALID` */
  async cancelConsumer(queue: string, options: ControlOptions = {}): Promise<Replies<OkReply>> {
    return this.#tell('cancel_consumer', { queue: checkText(queue, 'queue') }, options)
  }

  /** Task events are sent. */
  enableEvents(options: ControlOptions = {}): Promise<Replies<OkReply>> {
    return this.#tell('enable_events', {}, options)
  }

  /** Task events are no longer sent. */
  disableEvents(options: ControlOptions = {}): Promise<Replies<OkReply>> {
    return this.#tell('disable_events', {}, options)
  }

  /** Each worker sends a heartbeat event now. */
  heartbeat(options: ControlOptions = {}): Promise<Replies<OkReply>> {
    return this.#tell('heartbeat', {}, options)
  }

  /** Workers finish what they run, then end. Without `destination` or `pattern`: all of them. */
  shutdown(options: ControlOptions = {}): Promise<Replies<OkReply>> {
    return this.#tell('shutdown', {}, options)
  }

  /** The workers elect one of them to do the action; only those of Python know how. */
  async election(
    id: string,
    topic: string,
    action: unknown = null,
    options: ControlOptions = {},
  ): Promise<Replies<OkReply>> {
    return this.#tell('election', { id: checkText(id, 'id'), topic: checkText(topic, 'topic'), action }, options)
  }

  async #tell<Reply>(method: string, commandArguments: Arguments, options: ControlOptions): Promise<Replies<Reply>> {
    refuseUnknown(options, controlOptions, `control of ${method}`)
    return this.#mailbox.send<Reply>(method, commandArguments, checkControlOptions(options))
  }
}

function checkIds(ids: string | readonly string[]): string | readonly string[] {
  const all = typeof ids === 'string' ? [ids] : ids
  if (Array.isArray(all) && all.length > 0 && all.every((id) => typeof id === 'string' && id !== '')) return ids
  throw invalid('`ids` must be the id of a task, or a list of them', ids)
}

function checkText(text: string, name: string): string {
  if (typeof text === 'string' && text !== '') return text
  throw invalid(`\`${name}\` must be a text`, text)
}

function invalid(expected: string, value: unknown): CeleriacError {
  return new CeleriacError('CONFIG_INVALID', `${expected}, got ${JSON.stringify(value)}`)
}
