/** A child as a thread: starts faster and needs less than a process, and shares this one's fate. */
import type { Worker } from 'node:worker_threads'
import { startThread } from '../thread.ts'
import type { Child, ChildListener } from './child.ts'
import type { ChildSettings, FromChild, ToChild } from './child-messages.ts'

export function startChildThread(entry: URL, settings: ChildSettings, listener: ChildListener): Child {
  const thread = startThread(entry, settings, {})
  let failure: Error | undefined
  thread.on('message', (message) => listener.onMessage(message as FromChild))
  thread.on('error', (error: Error) => {
    failure = error
  })
  thread.on('exit', (code) => {
    listener.onEnd(
      failure === undefined ? `exited with code ${code}` : `ended with ${failure.name}: ${failure.message}`,
    )
  })
  return new ThreadChild(thread)
}

class ThreadChild implements Child {
  readonly pid = process.pid
  readonly #thread: Worker

  constructor(thread: Worker) {
    this.#thread = thread
  }

  send(message: ToChild): void {
    this.#thread.postMessage(message)
  }

  kill(): void {
    void this.#thread.terminate()
  }
}
