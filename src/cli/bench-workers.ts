/** Workers that run only for the time of a load test. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { InvalidArgumentError } from 'commander'
import type { Control } from '../control/client.ts'
import { CeleriacError } from '../errors.ts'
import type { PoolKind } from '../pool-kinds.ts'
import { spawnCommand } from './again.ts'
import { plural } from './output.ts'
import { list, pool } from './values.ts'
import { nodeName } from './worker.ts'

/** Workers of one queue. */
export interface WorkerOrder {
  readonly queue: string
  readonly workers: number
  /** Of each worker. @default what a worker has by itself */
  readonly slots?: number
  readonly pool?: PoolKind
}

/** Loading the user's module may take its time. */
const readyWithinMs = 30_000
const pingTimeout = '300ms'
/** For tasks that still run when the test is over. */
const shutdownTimeout = '10s'
const killAfterMs = 15_000
/** Of what a worker that did not start has said. */
const lastWordsLength = 2_000

/** `picking=2`, `picking=2x10`, `packing=1x2:processes`; several with commas between. */
export function workerOrders(text: string): WorkerOrder[] {
  return list(text).map((part) => {
    const [, queue, workers, slots, kind] = /^([^=]+)=(\d+)(?:x(\d+))?(?::([a-z]+))?$/i.exec(part) ?? []
    if (queue === undefined || Number(workers) < 1 || Number(slots ?? 1) < 1) {
      throw new InvalidArgumentError(
        "It takes QUEUE=WORKERS, with slots and pool if need be: 'picking=2', 'picking=2x10', 'packing=1x2:processes'.",
      )
    }
    return {
      queue,
      workers: Number(workers),
      ...(slots !== undefined && { slots: Number(slots) }),
      ...(kind !== undefined && { pool: pool(kind) }),
    }
  })
}

/** `2 workers of picking with 10 slots each` */
export function describeOrder({ queue, workers, slots, pool: kind }: WorkerOrder): string {
  const each = workers > 1 ? ' each' : ''
  const parts = [
    slots === undefined ? '' : ` with ${plural(slots, 'slot')}${each}`,
    kind === undefined ? '' : ` (${kind})`,
  ]
  return `${plural(workers, 'worker')} of ${queue}${parts.join('')}`
}

export class BenchWorkers {
  readonly #module: string
  readonly #children = new Map<string, { readonly process: ChildProcess; lastWords: string }>()

  /** @param module path of the application's module */
  constructor(module: string) {
    this.#module = module
  }

  /** Resolves to their names when all of them take tasks. @throws CeleriacError `WORKER_LOST` with the last words of one that does not */
  async start(orders: readonly WorkerOrder[], control: Control): Promise<string[]> {
    for (const order of orders) {
      for (let number = 1; number <= order.workers; number++) this.#spawn(order, number)
    }
    const deadlineMs = performance.now() + readyWithinMs
    const names = [...this.#children.keys()]
    if (names.length === 0) return names
    for (;;) {
      const answers = await control.ping({ destination: names, timeout: pingTimeout })
      const missing = names.filter((name) => !(name in answers))
      if (missing.length === 0) return names
      const dead = missing.find((name) => this.#hasEnded(name))
      if (dead !== undefined) throw this.#failure(dead, 'ended before it was ready')
      if (performance.now() > deadlineMs) throw this.#failure(missing[0] as string, `was not ready within 30 s`)
    }
  }

  /** Lets running tasks end, within ten seconds; kills what does not go. */
  async stop(): Promise<void> {
    const running = [...this.#children].filter(([name]) => !this.#hasEnded(name)).map(([, { process }]) => process)
    const ended = Promise.all(running.map((process) => once(process, 'exit')))
    for (const process of running) process.kill('SIGTERM')
    const timer = setTimeout(() => {
      for (const process of running) process.kill('SIGKILL')
    }, killAfterMs)
    await ended
    clearTimeout(timer)
  }

  #spawn({ queue, slots, pool: kind }: WorkerOrder, number: number): void {
    const name = nodeName(`bench${process.pid}-${queue.replace(/[^\w.-]/g, '_')}-${number}`)
    const child = spawnCommand([
      ...['worker', '-A', this.#module, '-Q', queue, '-n', name],
      ...(slots === undefined ? [] : ['-c', String(slots)]),
      ...(kind === undefined ? [] : ['-P', kind]),
      ...['-l', 'error', '--shutdown-timeout', shutdownTimeout],
    ])
    const entry = { process: child, lastWords: '' }
    const listen = (text: string): void => {
      entry.lastWords = (entry.lastWords + text).slice(-lastWordsLength)
    }
    child.on('error', (error) => listen(error.message))
    child.stderr?.setEncoding('utf8').on('data', listen)
    this.#children.set(name, entry)
  }

  #hasEnded(name: string): boolean {
    const process = this.#children.get(name)?.process
    return (
      process === undefined || process.pid === undefined || process.exitCode !== null || process.signalCode !== null
    )
  }

  #failure(name: string, what: string): CeleriacError {
    const words = this.#children.get(name)?.lastWords.trim() ?? ''
    return new CeleriacError('WORKER_LOST', `the worker ${name} ${what}${words === '' ? '' : `\n${words}`}`)
  }
}
