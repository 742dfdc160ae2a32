/**
 * What the processes of the warehouse have to agree on, handed from `run.ts` to the workers through the environment.
 * The only place that reads it.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

export interface Settings {
  /** URL of the broker. */
  readonly broker: string
  /** Folder of everything this warehouse writes. */
  readonly folder: string
  readonly courierUrl: string
  /** How long the tasks of a lost worker stay away, in seconds. */
  readonly leaseSeconds: number
  /** Orders that a picker takes on one trip. 1 = each by itself. */
  readonly batch: number
}

/** Settings as environment variables, for the workers. */
export function toEnvironment(settings: Settings): Record<string, string> {
  return {
    WAREHOUSE_BROKER: settings.broker,
    WAREHOUSE_FOLDER: settings.folder,
    WAREHOUSE_COURIER: settings.courierUrl,
    WAREHOUSE_LEASE: String(settings.leaseSeconds),
    WAREHOUSE_BATCH: String(settings.batch),
  }
}

/** Settings from the environment; without them, those of a warehouse in `var/dev` beside this file. */
export function fromEnvironment(environment: NodeJS.ProcessEnv): Settings {
  const folder = environment.WAREHOUSE_FOLDER ?? join(import.meta.dirname, 'var', 'dev')
  return {
    broker: environment.WAREHOUSE_BROKER ?? `sqlite://${join(folder, 'broker.db')}`,
    folder,
    courierUrl: environment.WAREHOUSE_COURIER ?? 'http://127.0.0.1:4100',
    leaseSeconds: Number(environment.WAREHOUSE_LEASE ?? 30),
    batch: Number(environment.WAREHOUSE_BATCH ?? 1),
  }
}

/** The warehouse's files. Creates their folders. */
export function filesIn(
  folder: string,
): Record<'aisles' | 'ledger' | 'slips' | 'logbook' | 'courierBook' | 'logs', string> {
  const files = {
    aisles: join(folder, 'aisles.db'),
    ledger: join(folder, 'ledger.db'),
    slips: join(folder, 'slips'),
    logbook: join(folder, 'runs.jsonl'),
    courierBook: join(folder, 'courier.jsonl'),
    logs: join(folder, 'logs'),
  }
  mkdirSync(files.slips, { recursive: true })
  mkdirSync(files.logs, { recursive: true })
  return files
}
