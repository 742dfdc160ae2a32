/** Reads what Celery's processes write down of their tasks; the format is that of `bench/python/bench_app.py`. */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import type { Payload } from '../harness/payload.ts'
import type { Started } from './side.ts'

export interface Run {
  readonly what: 'chain began' | 'last of a chain' | 'single'
  readonly payload: Payload
  readonly started: Started
}

const whats = ['chain began', 'last of a chain', 'single'] as const
const recordBytes = 5 * 8
const chunk = Buffer.alloc(recordBytes * 4_096)

export class Meter {
  readonly directory: string
  /** Open files, and how far each has been read. */
  readonly #files = new Map<string, { readonly descriptor: number; position: number }>()

  constructor(directory: string) {
    this.directory = directory
  }

  /** The runs written down since the last call. */
  read(): Run[] {
    for (const name of readdirSync(this.directory)) {
      if (!name.endsWith('.meter') || this.#files.has(name)) continue
      this.#files.set(name, { descriptor: openSync(join(this.directory, name), 'r'), position: 0 })
    }
    const runs: Run[] = []
    for (const file of this.#files.values()) {
      for (;;) {
        const bytes = readSync(file.descriptor, chunk, 0, chunk.length, file.position)
        const whole = bytes - (bytes % recordBytes)
        for (let at = 0; at < whole; at += recordBytes) runs.push(runAt(at))
        file.position += whole
        if (bytes < chunk.length) break
      }
    }
    return runs
  }

  close(): void {
    for (const { descriptor } of this.#files.values()) closeSync(descriptor)
    this.#files.clear()
  }
}

function runAt(at: number): Run {
  const value = (index: number): number => chunk.readDoubleLE(at + index * 8)
  return {
    what: whats[value(0)] ?? 'single',
    payload: { i: value(1), at: value(2), text: '' },
    started: { monotonicMs: value(3), epochMs: value(4) },
  }
}
