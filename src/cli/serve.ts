/** One worker, from loading its module to its end. */
import type { Celeriac } from '../app.ts'
import type { WorkerOptions } from '../config.ts'
import { shortTime } from '../duration.ts'
import type { Logger } from '../logger.ts'
import type { Monitor } from '../monitor/monitor.ts'
import { nearest } from '../nearest.ts'
import { packageVersion } from '../version.ts'
import type { Worker } from '../work/worker.ts'
import { isSupervised, onOrphaned } from './again.ts'
import { openApp } from './connection.ts'
import type { HttpService } from './http.ts'
import type { LogFormat } from './logging.ts'
import { plural } from './output.ts'
import { onSignals } from './signals.ts'
import { painter } from './terminal.ts'
import type { HttpAddress, LogLevel } from './values.ts'

export interface ServeOptions {
  /** Path of the module that exports the application. */
  readonly module: string
  readonly worker: WorkerOptions
  readonly format: LogFormat
  readonly level: LogLevel
  /** An application's own logger is kept, unless the user has asked for something else. */
  readonly keepsAppLogger: boolean
  readonly http: HttpAddress | undefined
  /** Whether it is a beat too. */
  readonly beat: boolean | 'if anything is declared'
  /** A monitor runs in the same process; its port, or undefined for 5555 or any that is free. */
  readonly monitor: false | { readonly port: number | undefined }
  readonly scheduleFile: string | undefined
}

/** How it ended; with `restart` somebody wants it to begin again. */
export type Ending = 'stop' | 'restart'

export async function serve({ format, level, ...options }: ServeOptions): Promise<Ending> {
  const [{ loadApp }, { createLogger }, { banner }] = await Promise.all([
    import('../load-app.ts'),
    import('./logging.ts'),
    import('./banner.ts'),
  ])
  const [app, cliLogger] = await Promise.all([loadApp(options.module), createLogger(format, level)])
  const logger = app.config.hasOwnLogger && options.keepsAppLogger ? app.config.logger : cliLogger
  const http = await listen(options.http)
  if (options.beat) await (await import('./beat.ts')).declareFile(app, options.scheduleFile)
  await openApp(app)
  if (options.beat === true || (options.beat && app.hasSchedule)) await app.startBeat({ logger })
  const monitor = options.monitor && (await startMonitor(app, cliLogger, options.monitor.port))
  const worker = await app.worker({ ...options.worker, module: options.module, logger })
  // Nothing is awaited from here to "ready", so the first task's line comes after it.
  http?.watch({ worker, tasks: app.registry.names(), version: packageVersion() })
  if (format === 'pretty') process.stderr.write(banner(app, worker, packageVersion(), painter(process.stderr)))
  warnOfStrangeQueues(app, worker, cliLogger)
  const close = async (): Promise<void> => {
    // The worker stops from this moment on: who is impatient may interrupt it. The monitor needs the broker to end.
    const stopping = worker.stop()
    if (monitor) await monitor.close()
    await stopping
    await app.close()
  }
  const stopped = untilStopped(app, worker, cliLogger, close)
  cliLogger.info({ worker: worker.name, queues: worker.settings.queues, http: http?.url }, 'ready')
  const ending = await stopped
  await http?.close()
  cliLogger.info({ worker: worker.name, processed: worker.health().processed }, 'stopped')
  return ending
}

async function startMonitor(app: Celeriac, logger: Logger, port: number | undefined): Promise<Monitor> {
  const monitor = await (await import('./monitor-beside.ts')).startMonitorBeside(app, logger, port)
  logger.info({}, `the monitor is at ${monitor.url}`)
  return monitor
}

async function listen(address: HttpAddress | undefined): Promise<HttpService | undefined> {
  return address === undefined ? undefined : (await import('./http.ts')).HttpService.listen(address)
}

/** A queue no task of the app goes to may be meant, but is more often mistyped. */
function warnOfStrangeQueues(app: Celeriac, { settings, name }: Worker, logger: Logger): void {
  for (const queue of settings.queues) {
    if (app.queues.includes(queue)) continue
    const guess = nearest(queue, app.queues)
    const advice = guess === undefined ? `they go to ${app.queues.join(', ')}` : `did you mean '${guess}'?`
    logger.warn({ worker: name }, `no task of this app goes to the queue '${queue}'; ${advice}`)
  }
}

/** Stops in stages, at the word of signals, of the fleet's remote control, or of the end of who supervises it. */
async function untilStopped(
  app: Celeriac,
  worker: Worker,
  logger: Logger,
  closeAll: () => Promise<void>,
): Promise<Ending> {
  let resolve: (closing: Promise<void>) => void = () => undefined
  const closed = new Promise<void>((settle) => {
    resolve = settle
  })
  let ending: Ending = 'stop'
  let isClosing = false
  const tasks = (): string => plural(worker.health().running, 'task')
  const close = (): void => {
    isClosing = true
    resolve(closeAll())
  }
  const closeWarmly = (what: string): void => {
    const isIdle = worker.health().running === 0
    const patience = `${tasks()} may end within ${shortTime(worker.settings.shutdownTimeoutMs)}; again to abort`
    logger.info({ worker: worker.name }, isIdle ? what : `${what}: ${patience}`)
    close()
  }
  const abort = (): void => {
    ending = 'stop'
    if (!isClosing) close()
    logger.warn({ worker: worker.name }, `aborting ${tasks()}; again to exit at once`)
    worker.interrupt()
  }
  const signals = onSignals({
    stages: [
      () => {
        if (isClosing) logger.info({ worker: worker.name }, 'stopping: it will not start again')
        else closeWarmly('stopping')
        ending = 'stop'
      },
      abort,
      () => {
        process.stderr.write(`celeriac: left at once; the tasks of ${app.name} return when their lease has lapsed\n`)
        process.exit(1)
      },
    ],
    // Who supervises it is told too, and starts the next one.
    ...(!isSupervised() && {
      onRestart: () => {
        if (isClosing) return
        ending = 'restart'
        closeWarmly('restarting')
      },
    }),
  })
  worker.stopping.addEventListener('abort', () => {
    if (isClosing) return
    logger.info({ worker: worker.name }, 'told to stop by remote control')
    signals.begin()
  })
  onOrphaned(abort)
  await closed
  // Whoever waits for the end has it now; what comes next listens for itself.
  signals.release()
  return ending
}
