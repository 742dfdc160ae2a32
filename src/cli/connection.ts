/** Where a command finds the broker: the app of `-A`, the URL of `-b`, or CELERIAC_BROKER_URL. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import { CeleriacError } from '../errors.ts'
import { redacted } from '../redacted.ts'
import { note } from './output.ts'
import { UsageError } from './values.ts'

export interface ConnectionFlags {
  readonly app?: string
  readonly broker?: string
}

/** Whether the broker may be made by this very command; what only looks at things would look at an empty file. */
export type Expected = 'existing' | 'existing or new'

const silentMs = 1_000

export function addConnectionFlags(command: Command): Command {
  return command
    .option('-A, --app <file>', 'the module that exports the app; its broker is used')
    .option('-b, --broker <url>', 'the broker (default: CELERIAC_BROKER_URL)')
}

/** Opens the app, gives it to the work, and closes it whatever happens. */
export async function withApp<T>(
  flags: ConnectionFlags,
  expected: Expected,
  work: (app: Celeriac) => Promise<T>,
): Promise<T> {
  return withOpenApp(() => findApp(flags), expected, work)
}

/** The same for an application that is found in another way. */
export async function withOpenApp<T>(
  find: () => Promise<Celeriac>,
  expected: Expected,
  work: (app: Celeriac) => Promise<T>,
): Promise<T> {
  const app = await find()
  refuseMemory(app.config.broker)
  if (expected === 'existing') refuseMissing(app.config.broker)
  await openApp(app)
  try {
    return await work(app)
  } finally {
    await app.close()
  }
}

/** Opens the app, and says so when the broker lets us wait. */
export async function openApp(app: Celeriac): Promise<void> {
  await waitFor(app.config.broker, app.open())
}

/** Says whom we wait for when opening takes its time: another process may have locked the file. */
export async function waitFor(url: string, opening: Promise<unknown>): Promise<void> {
  const timer = setTimeout(() => note(`celeriac: waiting for ${redacted(url)} …`), silentMs)
  try {
    await opening
  } finally {
    clearTimeout(timer)
  }
}

/** The application, not yet open. With a URL alone it is one without tasks, with results where the broker is. */
export async function findApp({ app, broker }: ConnectionFlags): Promise<Celeriac> {
  if (app !== undefined && broker !== undefined) {
    throw new UsageError('give either -A or -b: the app of -A has a broker of its own')
  }
  if (app !== undefined) return (await import('../load-app.ts')).loadApp(app)
  const url = broker ?? process.env.CELERIAC_BROKER_URL
  if (url === undefined || url === '') {
    throw new UsageError('which broker? Give -A app.ts, or -b sqlite://tasks.db, or set CELERIAC_BROKER_URL')
  }
  const { Celeriac } = await import('../app.ts')
  return new Celeriac('celeriac', { broker: url, results: true })
}

/** The absolute path of the file behind a broker, if there is one. */
export function fileOf(url: string): string | undefined {
  const [, scheme = 'sqlite', rest = url] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(url) ?? []
  return scheme.toLowerCase() === 'sqlite' && rest !== '' ? resolve(rest) : undefined
}

export function refuseMemory(url: string): void {
  if (!/^memory:/i.test(url)) return
  throw new CeleriacError(
    'UNSUPPORTED',
    `the broker ${url} lives in the memory of one process, where no other can look; use a file, such as sqlite://tasks.db`,
  )
}

export function refuseMissing(url: string): void {
  const file = fileOf(url)
  if (file === undefined || existsSync(file)) return
  throw new CeleriacError(
    'BROKER_UNAVAILABLE',
    `there is no database ${file}: nothing was sent through it yet, or the path is meant from another folder`,
  )
}
