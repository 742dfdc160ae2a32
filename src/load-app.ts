/**
 * Loads the module that `-A` names and finds the application in it.
 *
 * TypeScript is loaded as it is: by Node where Node strips types (22.18 and later), by jiti before that, and where the
 * module needs more than stripping (enums, `./x.js` that means `./x.ts`). Either way JavaScript modules are Node's own,
 * so the `celeriac` that the module imports is normally this very copy; if it is another one, the application is
 * recognised by its brand.
 */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, extname, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { appBrand, Celeriac } from './app.ts'
import { CeleriacError } from './errors.ts'
import { nearest } from './nearest.ts'
import { userFrames } from './stack.ts'

const stackLines = 6

/** @throws CeleriacError `APP_NOT_FOUND`: no such file, it does not load, or it exports no application */
export async function loadApp(file: string): Promise<Celeriac> {
  return (await loadAppModule(file)).app
}

/** What a module with an application exports. */
export interface AppModule {
  readonly app: Celeriac
  readonly exported: Readonly<Record<string, unknown>>
}

/** The application with everything that its module exports. @throws CeleriacError as `loadApp` */
export async function loadAppModule(file: string): Promise<AppModule> {
  const path = findFile(file)
  let exported: Record<string, unknown>
  try {
    exported = await importModule(path)
  } catch (error) {
    throw loadFailure(file, error)
  }
  return { app: chooseApp(exported, file), exported }
}

/** The export `app`, else the default export, else the only application among the exports. */
export function chooseApp(exported: Readonly<Record<string, unknown>>, file: string): Celeriac {
  if (isApp(exported.app)) return exported.app
  if (isApp(exported.default)) return exported.default
  const apps = Object.entries(exported).filter(([, value]) => isApp(value))
  if (apps.length === 1) return apps[0]?.[1] as Celeriac
  if (apps.length > 1) {
    const names = apps.map(([name]) => `'${name}'`).join(', ')
    throw notFound(`${file} exports several apps (${names}); export the one to use as 'app'`)
  }
  const names = Object.keys(exported).filter((name) => name !== '__esModule')
  const given = names.length === 0 ? 'it exports nothing' : `it exports ${names.map((name) => `'${name}'`).join(', ')}`
  throw notFound(`${file} exports no app: ${given}. Export one: export const app = new Celeriac('name', { … })`)
}

function isApp(value: unknown): value is Celeriac {
  if (value instanceof Celeriac) return true
  return typeof value === 'object' && value !== null && appBrand in value
}

function findFile(file: string): string {
  const path = resolve(file)
  if (existsSync(path) && statSync(path).isFile()) return realpathSync(path)
  if (existsSync(path)) throw notFound(`${file} is a folder; name the module in it, such as ${file}/app.ts`)
  const folder = dirname(path)
  if (!existsSync(folder)) throw notFound(`${file} does not exist, nor does the folder ${folder}`)
  const modules = readdirSync(folder).filter((name) => /\.[cm]?[jt]s$/.test(name))
  const stem = basename(path, extname(path))
  const guess = modules.find((name) => basename(name, extname(name)) === stem) ?? nearest(basename(path), modules)
  const advice =
    guess === undefined
      ? `-A takes the path of the module, from ${process.cwd()}`
      : `did you mean ${besides(file, guess)}?`
  throw notFound(`${file} does not exist; ${advice}`)
}

function besides(file: string, name: string): string {
  return file.slice(0, file.length - basename(file).length) + name
}

async function importModule(path: string): Promise<Record<string, unknown>> {
  const isTypeScript = /\.[cm]?ts$/.test(path)
  if (!isTypeScript || nodeStripsTypes()) {
    try {
      return (await import(pathToFileURL(path).href)) as Record<string, unknown>
    } catch (error) {
      if (!isJitisTurn(error, isTypeScript)) throw error
    }
  }
  const { createJiti } = await import('jiti')
  return createJiti(import.meta.url).import<Record<string, unknown>>(path)
}

function nodeStripsTypes(): boolean {
  return Boolean((process.features as { typescript?: unknown }).typescript)
}

const needsMoreThanStripping: readonly unknown[] = [
  'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX',
  'ERR_MODULE_NOT_FOUND',
  'ERR_UNSUPPORTED_DIR_IMPORT',
]

/** None of these errors comes after code has run. Of a syntax error jiti's parser tells the place where Node does not. */
function isJitisTurn(error: unknown, isTypeScript: boolean): boolean {
  if (error instanceof SyntaxError) return placeOf(error) === undefined
  return isTypeScript && needsMoreThanStripping.includes((error as { code?: unknown } | null)?.code)
}

function loadFailure(file: string, error: unknown): CeleriacError {
  const place = placeOf(error)
  if (place !== undefined) {
    const { path, line, column, problem } = place
    const at = `${relative(process.cwd(), path)}:${line}${column === undefined ? '' : `:${column}`}`
    return notFound(`${file} does not load: ${problem} at ${at}${codeFrame(path, line, column)}`, error)
  }
  const code = (error as { code?: unknown } | null)?.code
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') {
    const importer = (error as { requireStack?: string[] }).requireStack?.[0]
    const from = importer === undefined ? '' : ` imported from ${importer}`
    return notFound(`${file} does not load: ${firstLine(messageOf(error))}${from}`, error)
  }
  const stack = error instanceof Error ? usefulStack(error) : ''
  const name = error instanceof Error ? `${error.name}: ` : ''
  return notFound(`${file} threw while it was loaded: ${name}${messageOf(error)}${stack}`, error)
}

interface Place {
  readonly path: string
  readonly line: number
  /** From 1; not every parser tells it. */
  readonly column: number | undefined
  readonly problem: string
}

/** Where code is that cannot be read, from the text of jiti's `ParseError` or the head of the stack that Node writes. */
function placeOf(error: unknown): Place | undefined {
  if (!(error instanceof Error)) return undefined
  const parsed = /^ParseError: ([\s\S]*?)\s*\n\s*(\S.*):(\d+):(\d+)$/.exec(error.message)
  if (parsed !== null) {
    const [, problem = '', path = '', line, column] = parsed
    return { path, line: Number(line), column: Number(column) + 1, problem }
  }
  const head = error instanceof SyntaxError ? /^(\S.*):(\d+)\n([\s\S]*?)\n( *)\^/.exec(error.stack ?? '') : null
  if (head === null) return undefined
  const [, where = '', line, , indent = ''] = head
  const path = where.startsWith('file:') ? fileURLToPath(where) : where
  return { path, line: Number(line), column: indent.length + 1, problem: error.message }
}

/** The line, the one before and the one after, with a mark under the place. */
function codeFrame(path: string, line: number, column: number | undefined): string {
  if (!existsSync(path)) return ''
  const source = readFileSync(path, 'utf8').split(/\r?\n/)
  const frame: string[] = ['']
  for (let number = Math.max(1, line - 1); number <= Math.min(source.length, line + 1); number++) {
    const text = source[number - 1] ?? ''
    frame.push(`${number === line ? '  > ' : '    '}${String(number).padStart(4)} | ${text}`.trimEnd())
    if (number === line && column !== undefined) frame.push(`         | ${' '.repeat(column - 1)}^`)
  }
  return frame.join('\n')
}

/** The first lines of the stack that are the user's, not the loader's. */
function usefulStack(error: Error): string {
  const frames = userFrames(error.stack).slice(0, stackLines)
  return frames.map((frame) => `\n    ${frame.replace(/file:\/\/[^\s)]+?(?=:\d+)/, shorten)}`).join('')
}

function shorten(url: string): string {
  return relative(process.cwd(), fileURLToPath(url))
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text
}

function notFound(message: string, cause?: unknown): CeleriacError {
  return new CeleriacError('APP_NOT_FOUND', message, { cause })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
