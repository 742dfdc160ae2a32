/** One child, as its pool sees it. */
import type { FromChild, ToChild } from './child-messages.ts'

export interface Child {
  /** Its process id; for a thread that of this process. */
  readonly pid: number
  /** What is sent to a child that has ended is dropped. */
  send(message: ToChild): void
  /** Ends it at once, whatever it does. */
  kill(): void
}

export interface ChildListener {
  onMessage(message: FromChild): void
  /** Once, after its last message. `how`: e.g. `exited with code 1`, `was killed by SIGSEGV`. */
  onEnd(how: string): void
}

export type StartChild = (listener: ChildListener) => Child
