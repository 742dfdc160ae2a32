/** Questions to the workers: Celery's `app.control.inspect()`. */
import { CeleriacError } from '../errors.ts'
import { wholeNumber } from '../options.ts'
import type { Asked } from './addressing.ts'
import type { Arguments, Mailbox } from './mailbox.ts'
import type {
  ClockReply,
  ConfReply,
  HelloReply,
  ObjgraphReply,
  OkReply,
  QueueReply,
  Replies,
  RequestInfo,
  RevokedTimes,
  ScheduledRequest,
  StatsReply,
  TaskQueryReply,
} from './replies.ts'

/**
 * Asks the workers, and resolves to what each of them said, by node name: an empty object when none answered in time.
 * A worker that cannot answer says `{ error }`; `isErrorReply` tells.
 */
export class Inspect {
  readonly #mailbox: Mailbox
  readonly #asked: Asked

  constructor(mailbox: Mailbox, asked: Asked) {
    this.#mailbox = mailbox
    this.#asked = asked
  }

  /** Who is there. */
  ping(): Promise<Replies<OkReply>> {
    return this.#ask('ping')
  }

  /** What is running. With `safe`, arguments come as texts. */
  active({ safe }: { readonly safe?: boolean | undefined } = {}): Promise<Replies<readonly RequestInfo[]>> {
    return this.#ask('active', { safe: safe ?? null })
  }

  /** What was received and has not been started. */
  reserved(): Promise<Replies<readonly RequestInfo[]>> {
    return this.#ask('reserved')
  }

  /** What a worker keeps until it is due. */
  scheduled(): Promise<Replies<readonly ScheduledRequest[]>> {
    return this.#ask('scheduled')
  }

  /** Names of the tasks each worker knows; with the named options behind them, such as `rate_limit`. */
  registered(...items: readonly string[]): Promise<Replies<readonly string[]>> {
    return this.#ask('registered', { taskinfoitems: items })
  }

  /** Ids that are not to be run. */
  revoked(): Promise<Replies<readonly string[]>> {
    return this.#ask('revoked')
  }

  /** Queues that each worker consumes. */
  activeQueues(): Promise<Replies<readonly QueueReply[]>> {
    return this.#ask('active_queues')
  }

  /** Counts, the pool, the broker, what the process uses. */
  stats(): Promise<Replies<StatsReply>> {
    return this.#ask('stats')
  }

  /** Settings, secrets masked; only changed ones unless `withDefaults`. */
  conf({ withDefaults = false }: { readonly withDefaults?: boolean | undefined } = {}): Promise<Replies<ConfReply>> {
    return this.#ask('conf', { with_defaults: withDefaults })
  }

  /** Versions and settings as a text, for bug reports. */
  report(): Promise<Replies<OkReply>> {
    return this.#ask('report')
  }

  /** The logical clocks. */
  clock(): Promise<Replies<ClockReply>> {
    return this.#ask('clock')
  }

  /** Where the tasks are, of those a worker has. @throws CeleriacError `CONFIG_INVALID` without an id */
  async queryTask(...ids: readonly string[]): Promise<Replies<TaskQueryReply>> {
    if (ids.length === 0 || ids.some((id) => typeof id !== 'string' || id === '')) {
      throw new CeleriacError('CONFIG_INVALID', `queryTask() takes ids of tasks, got ${JSON.stringify(ids)}`)
    }
    return this.#ask('query_task', { ids })
  }

  /** Memory in use, as a text. */
  memsample(): Promise<Replies<string | null>> {
    return this.#ask('memsample')
  }

  /** The samples taken by `memsample`, as a text. @throws CeleriacError `CONFIG_INVALID` */
  async memdump({ samples = 10 }: { readonly samples?: number } = {}): Promise<Replies<OkReply>> {
    return this.#ask('memdump', { samples: wholeNumber(samples, 'samples', 1) })
  }

  /** A picture of objects in memory, which Python's workers write to a file. @throws CeleriacError `CONFIG_INVALID` */
  async objgraph({
    type = 'Request',
    num = 200,
    maxDepth = 10,
  }: {
    readonly type?: string
    readonly num?: number
    readonly maxDepth?: number
  } = {}): Promise<Replies<ObjgraphReply>> {
    wholeNumber(num, 'num', 1)
    wholeNumber(maxDepth, 'maxDepth', 1)
    return this.#ask('objgraph', { num, max_depth: maxDepth, type })
  }

  /** What a starting worker asks the others; gives them its own revoked ids. */
  hello(fromNode: string, { revoked = {} }: { readonly revoked?: RevokedTimes } = {}): Promise<Replies<HelloReply>> {
    return this.#ask('hello', { from_node: fromNode, revoked })
  }

  #ask<Reply>(method: string, commandArguments: Arguments = {}): Promise<Replies<Reply>> {
    return this.#mailbox.send<Reply>(method, commandArguments, this.#asked)
  }
}
