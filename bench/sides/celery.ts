/**
 * Celery, as Debian or pip has it, on Redis or RabbitMQ: a producer and a prefork worker in Python, driven from here. In
 * its favour: fair scheduling, no gossip, no mingle, no heartbeat, acknowledgement before the run (its default), results
 * ignored unless they are measured, time measured by its own processes. Its publishing awaits no confirms.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Program } from '../../test/servers/program.ts'
import { pythonWithCelery } from '../../test/servers/python.ts'
import { treeCpuUs } from '../harness/process-cpu.ts'
import { until } from '../harness/time.ts'
import { Meter } from './celery-meter.ts'
import type { Handle, Session, Store, Working, WorkOptions } from './side.ts'

const folder = fileURLToPath(new URL('../python/', import.meta.url))
/** How often the meter files are read: what a worker does is known so much later. Its times are its own. */
const readEveryMs = 5

export async function openCelery(store: Store): Promise<Session> {
  const python = pythonWithCelery()
  if (python === undefined) throw new Error('no Python with Celery was found')
  const meters = join(store.directory, 'meters')
  await mkdir(meters, { recursive: true })
  const env = {
    BENCH_BROKER: store.url,
    BENCH_METER: meters,
    PYTHONDONTWRITEBYTECODE: '1',
    C_FORCE_ROOT: '1',
    ...(store.resultsUrl === undefined ? {} : { BENCH_RESULTS: store.resultsUrl }),
  }
  const producer = await startCeleryProducer(python, env)

  return {
    // The clock starts when Python has the call in hand.
    send: (payload) => producer.order({ do: 'now', payload }),
    sendEach: (payloads) => producer.order({ do: 'send', payloads }),
    sendMany: (payloads) => producer.order({ do: 'send', payloads }),
    sendDelayed: (payloads) => producer.order({ do: 'eta', payloads }),
    sendChain: (payload) => producer.order({ do: 'chain', payload }),
    sendChord: (payload, members) => producer.order({ do: 'chord', payload, members }),
    waiting: async () => (await producer.order({ do: 'waiting' })) as number,
    work: (options, handle) => work(python, env, options, handle),
    claimer: undefined,
    messageBytes: async () => 0,
    close: () => producer.close(),
  }
}

async function work(
  python: string,
  env: Readonly<Record<string, string>> & { readonly BENCH_METER: string },
  { concurrency, prefetchMultiplier, optimization = 'fair', began = () => {} }: WorkOptions,
  handle: Handle,
): Promise<Working> {
  const options = `-P prefork -O ${optimization} --without-gossip --without-mingle --without-heartbeat -Q bench --loglevel ERROR`
  const program = new Program({
    command: python,
    args: [
      ...['-m', 'celery', '-A', 'bench_app', 'worker', ...options.split(' ')],
      ...['-c', String(concurrency), '--prefetch-multiplier', String(prefetchMultiplier)],
    ],
    env,
    cwd: folder,
  })
  const meter = new Meter(env.BENCH_METER)
  let ran = 0
  const read = (): void => {
    for (const { what, payload, started } of meter.read()) {
      if (what !== 'last of a chain') began()
      if (what === 'chain began') continue
      handle(payload, started)
      ran += 1
    }
  }
  await program.until(() => program.said.includes('ready'), 30_000)
  const reading = setInterval(read, readEveryMs)
  return {
    // What it has run was acknowledged before.
    settled: (count) => until(() => ran >= count, 1, 600_000),
    cpuUs: () => treeCpuUs(program.pid),
    async stop() {
      clearInterval(reading)
      await program.stop(3_000)
      meter.close()
    },
  }
}

export interface CeleryProducer {
  /** Rejects when the producer has ended. */
  order(order: object): Promise<unknown>
  close(): Promise<void>
}

export async function startCeleryProducer(
  python: string,
  env: Readonly<Record<string, string>>,
): Promise<CeleryProducer> {
  const child = spawn(python, ['producer.py'], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exit = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async (): Promise<unknown> => {
    const { value, done } = await lines.next()
    if (done) throw new Error("Celery's producer has ended; see above for what it said")
    return JSON.parse(value)
  }
  await answer()
  let last: Promise<unknown> = Promise.resolve()
  return {
    order(order) {
      child.stdin.write(`${JSON.stringify(order)}\n`)
      // Answers come in the order of the orders.
      last = last.then(answer)
      return last
    },
    async close() {
      child.stdin.end()
      await exit
    },
  }
}
