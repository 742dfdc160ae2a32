/**
 * Sends flows at the moments that were fixed for them, whatever becomes of the earlier ones. Where that is too much for
 * this process or for the broker it falls behind, and tells by how much.
 */
import { type Clock, sleep } from '../clock.ts'
import { type Arrivals, countOf, dueMs } from './arrivals.ts'
import type { Flow } from './flow.ts'
import { rootOf } from './flow.ts'
import type { Inputs } from './inputs.ts'
import type { SentFlow } from './sent-flow.ts'
import { Times } from './times.ts'

export interface SenderParts {
  readonly flow: Flow
  readonly inputs: Inputs
  readonly arrivals: Arrivals
  readonly clock: Clock
  readonly onSent: (flow: SentFlow) => void
}

/** Sent and not yet confirmed by the broker; beyond, the sender waits. */
const maxUnderWay = 1_000
/** After so many without a wait others get a turn: results and events want to be read. */
const burst = 200

export class Sender {
  readonly #parts: SenderParts
  #underWay = 0
  #onRoom: () => void = () => undefined
  /** When a flow was handed to the broker, after the moment fixed for it. */
  readonly late = new Times()
  sent = 0
  /** Refused, by their input, the user's function or the broker. */
  refused = 0
  firstRefusal: string | undefined

  constructor(parts: SenderParts) {
    this.#parts = parts
  }

  /** Resolves once all are sent, or the signal has aborted and none is under way. */
  async run(signal: AbortSignal): Promise<void> {
    const { arrivals, clock } = this.#parts
    const count = countOf(arrivals)
    const startMs = clock.monotonic()
    const startedAtMs = clock.now()
    let inBurst = 0
    for (let index = 0; index < count && !signal.aborted; index++) {
      const due = dueMs(arrivals, index)
      const earlyMs = due - (clock.monotonic() - startMs)
      if (earlyMs > 0 || inBurst >= burst) {
        await sleep(clock, Math.max(0, earlyMs), signal)
        inBurst = 0
      }
      while (this.#underWay >= maxUnderWay) await this.#room()
      if (signal.aborted) break
      inBurst += 1
      this.late.record(clock.monotonic() - startMs - due)
      this.#underWay += 1
      void this.#send(index, startedAtMs + due).finally(() => this.#left())
    }
    while (this.#underWay > 0) await this.#room()
  }

  async #send(index: number, intendedMs: number): Promise<void> {
    const { flow, inputs, clock, onSent } = this.#parts
    const sentMs = clock.now()
    try {
      const canvas = await flow.build(inputs.at(index))
      const result = await canvas.sender.send(canvas)
      this.sent += 1
      onSent({ rootId: rootOf(result), lastId: result.id, intendedMs, sentMs })
    } catch (error) {
      this.refused += 1
      this.firstRefusal ??= error instanceof Error ? error.message : String(error)
    }
  }

  #left(): void {
    this.#underWay -= 1
    this.#onRoom()
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
  }
}
