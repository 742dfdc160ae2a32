/** One flow that the broker holds. */
export interface SentFlow {
  /** The first task: the root of all that it leads to. */
  readonly rootId: string
  /** The task whose outcome is the flow's. */
  readonly lastId: string
  /** When it was to be sent, and when it was handed to the broker: epoch ms. */
  readonly intendedMs: number
  readonly sentMs: number
}
