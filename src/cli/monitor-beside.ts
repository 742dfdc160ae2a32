/** A monitor for whoever writes tasks, in the process of his worker: it starts whatever else runs on the machine. */
import type { Celeriac } from '../app.ts'
import { CeleriacError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { type Monitor, type MonitorOptions, startMonitor } from '../monitor/monitor.ts'
import { inMemory } from '../monitor/store/database.ts'
import { defaultMonitorFile } from './monitor-file.ts'

/** @param port undefined: the usual one, or any that is free where another program has it */
export async function startMonitorBeside(app: Celeriac, logger: Logger, port: number | undefined): Promise<Monitor> {
  const options: MonitorOptions = {
    ...{ app, logger, db: defaultMonitorFile(app.config.broker) },
    ...(port !== undefined && { port }),
  }
  try {
    return await startMonitor(options)
  } catch (error) {
    if (!(error instanceof CeleriacError)) throw error
    // A second project in this folder, or a second monitor: neither is a reason not to work.
    if (error.code === 'STORAGE_BUSY') return startMonitor({ ...options, db: inMemory, port: port ?? 0 })
    if (error.code === 'CONFIG_INVALID' && port === undefined) return startMonitor({ ...options, port: 0 })
    throw error
  }
}
