/**
 * The program of a child, in a process or a thread of its own: loads the application and runs what its pool sends.
 *
 * A child ends with its parent: a process when the line to it breaks, a thread in any case. Signals are the parent's to
 * answer; a Ctrl-C in a terminal, or a service manager, sends them to everybody.
 */
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { systemClock } from './clock.ts'
import { loadApp } from './load-app.ts'
import { type ChildSettings, type FromChild, sendError, type ToChild } from './pool/child-messages.ts'
import { childVariable } from './pool/child-process.ts'
import { ChildRunner } from './pool/child-runner.ts'
import { markAsChild } from './pool/in-child.ts'

/** Its own connections may take so long to close, in ms. */
const closeGraceMs = 2_000

markAsChild()
const settings = (isMainThread ? JSON.parse(process.env[childVariable] ?? '{}') : workerData) as ChildSettings

if (isMainThread) {
  // What tasks start is no child of a worker.
  delete process.env[childVariable]
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => undefined)
  process.on('disconnect', () => process.exit(0))
}

try {
  const app = await loadApp(settings.module)
  app.signals.send('workerProcessInit', { pid: process.pid })
  const end = (): void => {
    app.signals.send('workerProcessShutdown', { pid: process.pid })
    setTimeout(() => process.exit(0), closeGraceMs).unref()
    void app.close().finally(() => process.exit(0))
  }
  const runner = new ChildRunner({
    registry: app.registry,
    content: app.content,
    clock: systemClock,
    worker: settings.worker,
    send,
    memoryBytes: settings.tellsMemory ? memoryBytes : undefined,
    onStop: end,
  })
  listen((message) => runner.receive(message))
  send({ kind: 'ready' })
} catch (error) {
  send({ kind: 'unfit', error: sendError(error) })
  // Exits once that has left.
  process.disconnect?.()
}

function send(message: FromChild): void {
  if (parentPort !== null) parentPort.postMessage(message)
  else if (process.connected) process.send?.(message)
}

function listen(listener: (message: ToChild) => void): void {
  if (parentPort !== null) parentPort.on('message', listener)
  else process.on('message', (message) => listener(message as ToChild))
}

/** Of a thread what its own heap takes; the rest is shared with others. */
function memoryBytes(): number {
  if (isMainThread) return process.memoryUsage.rss()
  const { heapTotal, external } = process.memoryUsage()
  return heapTotal + external
}
