/**
 * Wakes other processes: a small file beside the database that writers touch and sleepers watch (inotify and its kin).
 * A slow look at the database is the net for file systems without events and for a watch that cannot be had.
 */
import { closeSync, constants, type FSWatcher, openSync, watch, writeSync } from 'node:fs'
import type { Clock, Timer } from '../../clock.ts'

/** Where the bell of a database hangs. */
export function bellOf(path: string): string {
  return `${path}-bell`
}

/** Rings a bell one does not listen to. */
export function strike(path: string): void {
  const fd = openSync(bellOf(path), constants.O_RDWR | constants.O_CREAT)
  hit(fd)
  closeSync(fd)
}

/** On a full disk the first stroke finds no room. What it would tell of is committed, and the net will see it. */
function hit(fd: number): void {
  try {
    writeSync(fd, stroke, 0, 1, 0)
  } catch {
    // Heard a little later.
  }
}

const netIntervalMs = 500
const stroke = Buffer.from([1])

export class Bell {
  readonly #fd: number
  readonly #watcher: FSWatcher | undefined
  readonly #clock: Clock
  #net: Timer | undefined

  /** `path` is the database's. `onRing` is called, maybe needlessly, after another process has rung. */
  constructor(path: string, clock: Clock, onRing: () => void) {
    this.#clock = clock
    this.#fd = openSync(bellOf(path), constants.O_RDWR | constants.O_CREAT)
    try {
      this.#watcher = watch(bellOf(path), { persistent: false }, onRing)
      this.#watcher.on('error', () => undefined)
    } catch {
      this.#watcher = undefined
    }
    const look = (): void => {
      onRing()
      this.#net = this.#clock.after(netIntervalMs, look)
    }
    this.#net = this.#clock.after(netIntervalMs, look)
  }

  ring(): void {
    hit(this.#fd)
  }

  close(): void {
    this.#net?.cancel()
    this.#watcher?.close()
    closeSync(this.#fd)
  }
}
