/** `celeriac bench`: a load test of the user's own pipeline. */
import { randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import { type Arrivals, countOf } from '../bench/arrivals.ts'
import { type BenchOptions, type BenchParts, bench } from '../bench/bench.ts'
import { type Flow, resolveFlow, type Step, stepsOf } from '../bench/flow.ts'
import { type FillOptions, type Inputs, inputsFromLines, inputsFromValues, noInputs } from '../bench/inputs.ts'
import type { BenchReport } from '../bench/report.ts'
import { systemClock } from '../clock.ts'
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { redacted } from '../redacted.ts'
import { progressLine } from './bench-progress.ts'
import { benchReport, describeArrivals } from './bench-report.ts'
import { BenchWorkers, describeOrder, type WorkerOrder, workerOrders } from './bench-workers.ts'
import { confirm } from './confirm.ts'
import { openApp, refuseMemory } from './connection.ts'
import { exitCodes } from './failure.ts'
import { count } from './migrate-progress.ts'
import { facts, note, plural, print, printJson } from './output.ts'
import { onSignals } from './signals.ts'
import { painter } from './terminal.ts'
import { duration, ramp, rate, UsageError, wholeNumber } from './values.ts'

interface BenchFlags {
  readonly app: string
  readonly flow: string
  readonly input?: string
  readonly value?: readonly string[]
  readonly fill?: true
  readonly rate?: number
  readonly ramp?: { readonly from: number; readonly to: number }
  readonly drain?: number
  readonly for?: Duration
  readonly grace?: Duration
  readonly workers?: readonly WorkerOrder[]
  readonly onTop?: true
  readonly yes?: true
  readonly json?: true
}

const defaults = { for: '30s', grace: '30s' } as const
/** Busy workers may need longer than the second that is the custom. */
const timeout = '2s'
/** What is known of each flow is kept until the end. */
const mostFlows = 200_000
const largestInput = 100 * 1024 ** 2

export function addBenchCommand(program: Command): void {
  program
    .command('bench')
    .summary('load-test a pipeline of your own')
    .description('Sends real inputs through your own tasks, measures every stage and names the bottleneck.')
    .requiredOption('-A, --app <file>', 'the module that exports the app')
    .requiredOption('--flow <name>', 'a function of the module that makes a chain of an input, or a task')
    .option('--input <file>', 'JSONL: an input in each line, taken in turn, again and again')
    .option('--value <json>', 'an input; may be repeated', (text: string, before: string[] = []) => [...before, text])
    .option('--fill', 'in the inputs, replace {n} by the number of the flow and {run} by a name of this run')
    .option('--rate <rate>', 'so many flows, such as 50/s', rate)
    .option('--ramp <rates>', 'more and more: 10/s..200/s', ramp)
    .option('--for <time>', `how long --rate and --ramp send (default: ${defaults.for})`, duration)
    .option('--drain <n>', 'so many at once; how long until they are through?', wholeNumber(1, mostFlows))
    .option('--grace <time>', `how long flows are waited for after that (default: ${defaults.grace})`, duration)
    .option('--workers <list>', "start workers for it: 'picking=2,packing=1x4:processes'", workerOrders)
    .option('--on-top', 'also while other messages wait in the queues')
    .option('--yes', 'do not ask')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
The tasks are run for real, with all that they do, by the workers that serve their
queues; or by workers of its own: QUEUE=WORKERS, then xSLOTS and :POOL if need be.
The app needs \`results: true\`. The first Ctrl-C ends the sending, the second the
waiting too; what was found until then is reported.

Exit codes: 0 every flow has ended, 1 some were refused, lost or unfinished,
2 it was used wrongly.

Examples:
  celeriac bench -A app.ts --flow fulfil --input orders.jsonl --rate 50/s --for 60s
  celeriac bench -A app.ts --flow fulfil --input orders.jsonl --ramp 10/s..200/s
  celeriac bench -A app.ts --flow shop.pick --value '{"id": "{run}-{n}"}' --fill \\
    --drain 1000 --workers picking=2`,
    )
    .action(runBench)
}

async function runBench(flags: BenchFlags): Promise<void> {
  const arrivals = arrivalsOf(flags)
  const inputs = inputsOf(flags)
  const { loadAppModule } = await import('../load-app.ts')
  const { app, exported } = await loadAppModule(flags.app)
  refuseMemory(app.config.broker)
  const flow = resolveFlow(flags.flow, { exported, registry: app.registry, remote: (task) => app.remote(task) })
  const steps = stepsOf(await flow.build(inputs.at(0)))
  refuseWithoutResult(app, steps)
  await openApp(app)
  const workers = new BenchWorkers(flags.app)
  try {
    const serving = await servingWorkers(app, steps, flags)
    if (!(flags.json && flags.yes)) note(plan(app, flow, steps, inputs, arrivals, flags))
    const question = `Send ${count(countOf(arrivals))} flows?`
    if (!(await confirm(question, flags.yes ?? false, 'Their tasks do what they always do'))) return
    const own = await workers.start(flags.workers ?? [], app.control)
    const report = await measure(app, { flow, steps, inputs, arrivals, workers: [...serving, ...own] }, flags)
    if (flags.json) printJson(report)
    else print(benchReport(report, process.stdout.isTTY ? process.stdout.columns || 80 : 100, painter(process.stdout)))
    const { refused, unfinished, lost } = report.flows
    if (refused + unfinished + lost > 0) process.exitCode = exitCodes.failed
  } finally {
    await workers.stop()
    await app.close()
  }
}

async function measure(
  app: Celeriac,
  what: Pick<BenchOptions, 'flow' | 'steps' | 'workers' | 'inputs' | 'arrivals'>,
  { grace = defaults.grace, json }: BenchFlags,
): Promise<BenchReport> {
  const parts: BenchParts = {
    broker: app.broker,
    bus: await app.bus(),
    results: app.results as NonNullable<Celeriac['results']>,
    control: app.control,
    registry: app.registry,
    queueOf: (task) => app.queueOf(task),
    clock: systemClock,
  }
  const progress = progressLine(process.stderr, json ?? false)
  const [stop, giveUp] = [new AbortController(), new AbortController()]
  const signals = onSignals({
    stages: [
      () => {
        stop.abort()
        note('\nsending no more; waiting for what is under way (again to stop waiting)')
      },
      () => giveUp.abort(),
      () => process.exit(exitCodes.failed),
    ],
  })
  try {
    return await bench(parts, {
      ...what,
      graceMs: toMs(grace, 'grace'),
      stop: stop.signal,
      giveUp: giveUp.signal,
      onProgress: (stand) => progress.update(stand),
    })
  } finally {
    progress.end()
    signals.release()
  }
}

/** @throws UsageError */
function arrivalsOf({ rate: perSecond, ramp: rates, drain, for: time }: BenchFlags): Arrivals {
  const given = [perSecond, rates, drain].filter((one) => one !== undefined)
  if (given.length !== 1) throw new UsageError('how many? Give one of --rate 50/s, --ramp 10/s..200/s and --drain 1000')
  if (drain !== undefined) {
    if (time !== undefined) throw new UsageError('--for goes with --rate and --ramp; --drain sends all at once')
    return { kind: 'drain', count: drain }
  }
  const forMs = toMs(time ?? defaults.for, 'for')
  const arrivals: Arrivals =
    rates === undefined
      ? { kind: 'rate', perSecond: perSecond as number, forMs }
      : { kind: 'ramp', fromPerSecond: rates.from, toPerSecond: rates.to, forMs }
  const flows = countOf(arrivals)
  if (flows < 1) throw new UsageError('that is less than one flow; take a higher rate, or a longer --for')
  if (flows > mostFlows) throw new UsageError(`that is ${count(flows)} flows, and ${count(mostFlows)} are the most`)
  return arrivals
}

/** @throws UsageError, CeleriacError `CONFIG_INVALID` */
function inputsOf({ input, value, fill }: BenchFlags): Inputs {
  if (input !== undefined && value !== undefined) throw new UsageError('give either --input or --value')
  const options: FillOptions = { run: fill ? randomBytes(4).toString('hex') : undefined }
  if (value !== undefined) return inputsFromValues(value, options)
  if (input === undefined) return noInputs
  let size: number
  try {
    size = statSync(input).size
  } catch {
    throw new UsageError(`there is no file ${input}`)
  }
  if (size > largestInput) throw new UsageError(`${input} is larger than 100 MB; a part of it will do: head -n 10000`)
  return inputsFromLines(readFileSync(input, 'utf8'), input, options)
}

/** @throws CeleriacError `RESULTS_DISABLED` */
function refuseWithoutResult({ config, registry }: Celeriac, steps: readonly Step[]): void {
  const last = steps.at(-1)?.task ?? ''
  const ignores = registry.get(last)?.options.ignoreResult === true
  if (config.results !== undefined && !ignores) return
  const reason = ignores
    ? `the last task, '${last}', has \`ignoreResult\``
    : 'the app keeps no results (`results: true`)'
  throw new CeleriacError(
    'RESULTS_DISABLED',
    `${reason}: without it nobody can tell when a flow has ended; nothing was sent`,
  )
}

/**
 * Names of the workers that serve the queues. Nothing of others is to be mixed up with the test, and each queue must be
 * served. @throws UsageError
 */
async function servingWorkers(
  app: Celeriac,
  steps: readonly Step[],
  { workers: ordered = [], onTop }: BenchFlags,
): Promise<string[]> {
  const queues = [...new Set(steps.map((step) => queueOf(app, step)))]
  const [infos, replies] = await Promise.all([app.broker.queues(), app.control.inspect({ timeout }).activeQueues()])
  const serving = Object.entries(replies).filter(
    ([, served]) => Array.isArray(served) && served.some(({ name }) => queues.includes(name)),
  )
  for (const queue of queues) {
    const { ready, delayed, inFlight } = await app.broker.depth(queue)
    const info = infos.find((one) => one.queue === queue)
    if (info?.paused) throw new UsageError(`the queue '${queue}' is paused: \`celeriac queue resume ${queue}\``)
    if (ready + delayed + inFlight > 0 && !onTop) {
      throw new UsageError(
        `the queue '${queue}' is in use (${count(ready)} ready, ${count(delayed)} delayed, ${count(inFlight)} running): ` +
          'the test would stand behind that, and measure it too. Take another broker, wait, or say --on-top',
      )
    }
    // Not every broker knows its consumers, and not every worker answers.
    const isServed =
      (info?.consumers ?? 0) > 0 ||
      serving.some(([, served]) => Array.isArray(served) && served.some(({ name }) => name === queue)) ||
      ordered.some((order) => order.queue === queue)
    if (!isServed) {
      throw new UsageError(`no worker serves the queue '${queue}'; start one, or say --workers ${queue}=1`)
    }
  }
  return serving.map(([name]) => name)
}

function queueOf(app: Celeriac, { task, queue }: Step): string {
  return queue ?? app.queueOf(task)
}

function plan(
  app: Celeriac,
  flow: Flow,
  steps: readonly Step[],
  inputs: Inputs,
  arrivals: Arrivals,
  { workers, input, fill }: BenchFlags,
): string {
  const flows = countOf(arrivals)
  const times = flows / inputs.count
  const repeated = times > 1 && inputs !== noInputs && !fill ? `, each about ${count(times)} times` : ''
  const source = input === undefined ? plural(inputs.count, 'value') : `${count(inputs.count)} lines of ${input}`
  return facts(
    [
      ['flow', `${flow.name}, ${count(flows)} times: ${describeArrivals(arrivals)}`],
      ['inputs', inputs === noInputs ? 'none' : `${source}${repeated}`],
      ['stages', steps.map((step) => `${step.task} on ${queueOf(app, step)}`).join(', ')],
      ['broker', redacted(app.config.broker)],
      ['workers', workers === undefined ? 'those that serve the queues' : workers.map(describeOrder).join(', ')],
    ],
    painter(process.stderr),
  )
}
