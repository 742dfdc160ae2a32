/**
 * Keeps the lease thread out of its native binding while the process exits. Node ends its threads wherever they are, and
 * libsql's Rust code answers a call that is cut off by aborting the whole process.
 */
const free = 0
const inside = 1
const locked = 2

const longestWaitMs = 200

export class Turnstile {
  /** Shared between the threads. */
  readonly state: Int32Array

  constructor(state: Int32Array = new Int32Array(new SharedArrayBuffer(4))) {
    this.state = state
  }

  /** The thread's side: does the work, unless the process is about to end. */
  pass<T>(work: () => T): T | undefined {
    if (Atomics.compareExchange(this.state, 0, free, inside) === locked) return undefined
    try {
      return work()
    } finally {
      Atomics.compareExchange(this.state, 0, inside, free)
      Atomics.notify(this.state, 0)
    }
  }

  /** The main thread's side, when the process exits: waits until the other one is out, and lets it in no more. */
  readonly lock = (): void => {
    if (Atomics.compareExchange(this.state, 0, free, locked) === free) return
    Atomics.wait(this.state, 0, inside, longestWaitMs)
    Atomics.compareExchange(this.state, 0, free, locked)
  }
}
