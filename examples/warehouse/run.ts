/**
 * `npm start`: runs the warehouse. Opens it, feeds it orders from a file, watches until every order is through, and
 * draws up the summary. With `--once` it then ends, with exit code 0 only if all books agree; without, it stays open.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { collectBooks, collectStageFacts } from './books.ts'
import { emptyReport, feed } from './feeder.ts'
import { type Flags, parseFlags, UsageError, usage } from './flags.ts'
import { type Entry, LogbookReader } from './logbook.ts'
import { nextSteps } from './next-steps.ts'
import { readOrders } from './orders/read.ts'
import { Progress } from './progress.ts'
import { seeded } from './random.ts'
import { reconcile } from './reconcile.ts'
import { report } from './report.ts'
import { Interrupted, stopOnSignals } from './signals.ts'
import { type Summary, summarise } from './summary.ts'
import { openWarehouse, type Warehouse } from './warehouse.ts'
import { watchUntilQuiet } from './watch.ts'

/** Exit codes. */
const booksAgree = 0
const failed = 1
const wrongUsage = 2
const interrupted = 130

async function main(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args)
  if (flags.help) {
    process.stdout.write(usage)
    return booksAgree
  }
  const progress = new Progress(flags.json ? process.stderr : process.stdout)
  const say = (text: string): void => progress.say(text)
  /** Aborted by a signal, or by whatever makes going on useless: its reason. */
  const end = new AbortController()
  let warehouse: Warehouse | undefined
  let keep = false

  stopOnSignals(end, say, () => warehouse?.abandon())
  try {
    say('opening the warehouse …')
    warehouse = await openWarehouse(flags, { say, onHopeless: (error) => end.abort(error) })
    end.signal.throwIfAborted()
    if (warehouse.monitorUrl !== undefined) say(`watch it in a browser: ${warehouse.monitorUrl}`)
    const killing = flags.kill ? killNowAndThen(warehouse, flags.seed) : undefined
    const summary = await runOrders(warehouse, flags, progress, end).finally(() => clearInterval(killing))
    keep = !summary.ok
    process.stdout.write(flags.json ? `${JSON.stringify(summary)}\n` : `\n${report(summary)}\n`)
    if (!flags.once) await stayOpen(warehouse, say, end.signal)
    if (end.signal.aborted && !(end.signal.reason instanceof Interrupted)) throw end.signal.reason
    return summary.ok ? booksAgree : failed
  } finally {
    await warehouse?.close()
    if (keep) say(`slips, logs and databases are kept in ${warehouse?.settings.folder}`)
    else await warehouse?.demolish()
  }
}

/** Feeds the orders and waits until all of them are through. @throws the reason of `end` when that comes first */
async function runOrders(
  warehouse: Warehouse,
  flags: Flags,
  progress: Progress,
  end: AbortController,
): Promise<Summary> {
  const { app, receiverUrl, staff, files, ledger, aisles } = warehouse
  const { signal } = end
  const startedAt = Date.now()
  const deadline = flags.once ? AbortSignal.timeout(flags.deadlineMs) : signal
  const logbook = new LogbookReader(files.logbook)
  const entries: Entry[] = []
  const orders = flags.file ?? join(import.meta.dirname, 'orders', 'orders.csv')

  progress.say(
    `feeding ${flags.orders} orders to ${receiverUrl}, ${flags.workers} worker(s) per stage, ${howTheyPick(flags)}, broker ${warehouse.settings.broker}`,
  )
  const fed = emptyReport()
  let isFeeding = true
  const feeding = feed({ lines: readOrders(orders, flags.orders), url: receiverUrl, signal }, fed)
    .catch((error: unknown) => end.abort(error))
    .finally(() => {
      isFeeding = false
    })
  const finished = await watchUntilQuiet({
    stages: warehouse.stages,
    queues: () => app.broker.queues(),
    logbook,
    show: (views) => progress.show(views, fed.accepted.size, performance.now()),
    onEntries: (more) => entries.push(...more),
    isFeeding: () => isFeeding,
    accepted: () => fed.accepted.size,
    signal: AbortSignal.any([signal, deadline]),
  })
  logbook.close()
  progress.settle()
  signal.throwIfAborted()
  if (!finished) progress.say(`gave up after ${flags.deadlineMs / 1_000} s: there are still orders in the queues`)
  // Whoever is still working when the deadline has passed would change the books while they are read.
  if (!finished) await staff.stop()
  await feeding
  if (fed.in < flags.orders) progress.say(`there were only ${fed.in} orders in ${orders}`)

  const books = await collectBooks(warehouse, fed.accepted)
  return summarise({
    in: fed.in,
    repeated: fed.repeated,
    rejected: fed.rejected,
    books,
    reconciliation: reconcile(books),
    finished,
    logbook: entries,
    stages: await collectStageFacts(app, ledger.all(), warehouse.stages, flags.workers),
    trips: aisles.trips(),
    startedAt,
    endedAt: entries.at(-1)?.at ?? startedAt,
    kills: staff.kills,
    crashes: staff.crashes,
  })
}

function howTheyPick({ workers, pickers, batch }: Flags): string {
  const perTrip = batch === 1 ? 'one order a trip' : `up to ${batch} orders a trip`
  return `${workers * pickers} pickers with ${perTrip}`
}

/** Until the signal aborts: tells what to try, and every run of a task that ends. */
async function stayOpen(warehouse: Warehouse, say: (text: string) => void, signal: AbortSignal): Promise<void> {
  const { settings, receiverUrl, monitorUrl, staff, aisles, files } = warehouse
  const { broker, folder } = settings
  say(nextSteps({ receiverUrl, monitorUrl, broker, folder, workers: staff.list(), stock: aisles.stock() }))
  const logbook = new LogbookReader(files.logbook)
  logbook.read() // what is in the summary
  while (!signal.aborted) {
    for (const entry of logbook.read()) {
      if (entry.what === 'ended') {
        say(`${entry.orderId}: ${entry.task} ${entry.error ?? 'done'} after ${Math.round(entry.runMs)} ms`)
      }
    }
    await sleep(500, undefined, { signal }).catch(() => undefined)
  }
  logbook.close()
}

function killNowAndThen({ staff }: Warehouse, seed: number): NodeJS.Timeout {
  const random = seeded('kill', seed)
  return setInterval(() => staff.killOne(random), 1_000)
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    if (error instanceof Interrupted) {
      process.exitCode = interrupted
      return
    }
    process.stderr.write(`npm start: ${error instanceof Error ? error.message : error}\n`)
    process.exitCode = error instanceof UsageError ? wrongUsage : failed
  },
)
