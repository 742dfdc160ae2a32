/** What can be done about a task: it is run again, with its true arguments or others, or not run at all. */
import type { Celeriac } from '../../app.ts'
import { Signature } from '../../canvas/signature.ts'
import type { OkReply, Replies } from '../../control/replies.ts'
import { CeleriacError } from '../../errors.ts'
import { deadSuffix } from '../../send/dead-letters.ts'
import type { Places } from '../collect/places.ts'
import type { MonitorStore } from '../store/store.ts'
import type { StoredTask } from '../store/task-store.ts'
import { readLiteral } from './python-literal.ts'

export interface TrueArguments {
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  /** The message itself, or the text that a worker told, read back. */
  readonly from: 'message' | 'text'
}

export interface RetryOptions {
  readonly args?: readonly unknown[] | undefined
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined
  /** @default the queue it was in */
  readonly queue?: string | undefined
  /** Of the new task. @default a random one */
  readonly newId?: string | undefined
}

export interface Retried {
  /** `redriven`: its dead letter went back to its queue, under its old id, with the rest of its pipeline. */
  readonly how: 'redriven' | 'sent'
  readonly id: string
}

export interface RevokeOptions {
  readonly terminate?: boolean | undefined
  readonly signal?: string | undefined
}

export class TaskActions {
  readonly #app: Celeriac
  readonly #store: MonitorStore
  readonly #places: Places

  constructor(app: Celeriac, store: MonitorStore, places: Places) {
    this.#app = app
    this.#store = store
    this.#places = places
  }

  /** Undefined where neither its message was seen nor the texts tell them for certain. */
  argumentsOf(task: StoredTask): TrueArguments | undefined {
    const message = this.#store.messages.get(task.uuid)
    if (message !== undefined) {
      const read = argumentsIn(this.#bodyOf(message))
      if (read !== undefined) return { ...read, from: 'message' }
    }
    const args = readLiteral(task.args ?? '()')
    const kwargs = readLiteral(task.kwargs ?? '{}')
    if (task.args === null || !Array.isArray(args) || !isObject(kwargs)) return undefined
    return { args, kwargs, from: 'text' }
  }

  /**
   * Redrives its dead letter where there is one; else sends it again, alone, under a new id.
   * @throws CeleriacError `CONFIG_INVALID` where it is not known what to send
   */
  async retry(task: StoredTask, options: RetryOptions = {}): Promise<Retried> {
    const { args, kwargs } = options
    if (await this.#redrive(task, args, kwargs)) return { how: 'redriven', id: task.uuid }
    if (task.name === null) throw cannot(`nothing was heard of what '${task.uuid}' is`)
    const known = args === undefined || kwargs === undefined ? this.argumentsOf(task) : undefined
    if (known === undefined && (args === undefined || kwargs === undefined)) {
      throw cannot(
        `the arguments of '${task.uuid}' are known only as a text that is cut, hidden or not plain; give \`args\` and \`kwargs\``,
      )
    }
    const queue = options.queue ?? this.#queueOf(task, task.name)
    const bare = this.#app.remote(task.name).s()
    const parts = { ...bare.parts, args: args ?? known?.args ?? [], kwargs: kwargs ?? known?.kwargs ?? {} }
    const sent = await new Signature<[], unknown>(parts, bare.sender).applyAsync({
      queue,
      ...(options.newId !== undefined && { taskId: options.newId }),
    })
    return { how: 'sent', id: sent.id }
  }

  /** No worker is to run them; with `terminate`, none is to go on. */
  revoke(ids: readonly string[], { terminate = false, signal = 'SIGTERM' }: RevokeOptions): Promise<Replies<OkReply>> {
    return this.#app.control.revoke(ids, { terminate, signal, reply: false })
  }

  /** Sent to a queue that it does not belong to, it would wait there for ever. */
  #queueOf({ uuid, queue, worker }: StoredTask, name: string): string {
    const known = queue ?? this.#store.messages.get(uuid)?.queue ?? this.#places.queueOf(name, worker)
    if (known !== null && known !== undefined) return known
    const ours = this.#app.queueOf(name)
    if (this.#app.registry.get(name) !== undefined || ours !== this.#app.config.defaultQueue) return ours
    throw cannot(`it is not known which queue '${uuid}' was in; give \`queue\``)
  }

  async #redrive(task: StoredTask, args: RetryOptions['args'], kwargs: RetryOptions['kwargs']): Promise<boolean> {
    if (task.state !== 'FAILURE' || task.queue === null) return false
    const { ready } = await this.#app.broker.depth(`${task.queue}${deadSuffix}`)
    if (ready === 0) return false
    const edit =
      args === undefined && kwargs === undefined
        ? {}
        : { edit: () => ({ ...(args && { args }), ...(kwargs && { kwargs }) }) }
    return (await this.#app.deadLetters.redrive({ queue: task.queue, ids: [task.uuid], ...edit })) > 0
  }

  #bodyOf(message: Parameters<Celeriac['content']['readAny']>[0]): unknown {
    try {
      return this.#app.content.readAny(message)
    } catch {
      // Pickled, or broken: the texts may still tell.
      return undefined
    }
  }
}

/** In a body of either protocol. */
function argumentsIn(body: unknown): Pick<TrueArguments, 'args' | 'kwargs'> | undefined {
  const [args, kwargs] = Array.isArray(body) ? (body as unknown[]) : isObject(body) ? [body.args, body.kwargs] : []
  return Array.isArray(args) && isObject(kwargs) ? { args, kwargs } : undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function cannot(why: string): CeleriacError {
  return new CeleriacError('CONFIG_INVALID', `it cannot be sent again: ${why}`)
}
