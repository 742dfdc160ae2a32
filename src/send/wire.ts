/**
 * Celery's forms on the wire, as types: signatures, the third element of a body, and the headers of our own. Names are
 * Celery's, so they stand here in snake case (`celery/canvas.py`, `celery/app/amqp.py`).
 */

/** A call as data, the way it travels inside other messages. */
export interface WireSignature {
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly options: WireOptions
  readonly subtask_type: string | null
  readonly immutable: boolean
}

export interface WireOptions {
  readonly task_id?: string
  readonly reply_to?: string
  readonly queue?: string
  readonly priority?: number
  readonly countdown?: number
  readonly eta?: string
  readonly expires?: number | string
  readonly time_limit?: number
  readonly soft_time_limit?: number
  readonly ignore_result?: boolean
  readonly root_id?: string | null
  readonly parent_id?: string | null
  readonly group_id?: string | null
  readonly group_index?: number | null
  readonly shadow?: string | null
  readonly headers?: Readonly<Record<string, unknown>>
  readonly link?: readonly WireSignature[]
  readonly link_error?: readonly WireSignature[]
  /** Steps that follow, the next one last. */
  readonly chain?: readonly WireSignature[]
  readonly chord?: WireSignature | null
  /** What Celery's options have no place for. */
  readonly celeriac?: CeleriacOptions
  readonly [other: string]: unknown
}

export interface CeleriacOptions {
  /** Of the body of a chord: what a failure in its header means. Without it, it fails the body. */
  readonly onError?: 'cancel' | 'settle'
  /** Attempts that were made at this task before it replaced itself; see `CeleriacHeader.fence`. */
  readonly fence?: number
}

/** What else travels in a body. */
export interface Embed {
  readonly callbacks: readonly WireSignature[] | null
  readonly errbacks: readonly WireSignature[] | null
  /** Steps that follow, the next one last. */
  readonly chain: readonly WireSignature[] | null
  readonly chord: WireSignature | null
}

/** One attempt that did not end well. */
export interface AttemptRecord {
  /** ISO 8601. */
  readonly at: string
  readonly worker: string
  /** `Type: message`. */
  readonly error: string
}

/** Our header `celeriac`: what Celery's headers have no place for. Others' messages lack it. */
export interface CeleriacHeader {
  /** When it was sent or should be ready (a retry's due time), epoch ms. */
  readonly sent?: number
  /** Attempts made by earlier messages of this task; see `ResultRecord.fence`. */
  readonly fence?: number
  readonly attempts?: readonly AttemptRecord[]
  /** Children of workers that were lost with this message; the broker counts the workers. */
  readonly losses?: number
  /** When the token of a rate limit is there that was reserved for this message, epoch ms. */
  readonly reserved?: number
  /** What the durable steps gave that were done before it slept, as JSON. */
  readonly steps?: string
  readonly dead?: DeadLetterHeader
}

/** What a dead letter says of its end. */
export interface DeadLetterHeader {
  readonly reason: string
  readonly error: { readonly type: string; readonly message: string; readonly traceback: string | null } | null
  readonly worker: string
  readonly at: string
  readonly queue: string
  readonly deliveries: number
}
