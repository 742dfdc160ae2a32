/** `--reload`: a worker that starts again whenever a module in the folder of its application changes. */
import { existsSync, type FSWatcher, readdirSync, statSync, watch } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { Logger } from '../logger.ts'
import { createLogger, type LogFormat } from './logging.ts'
import { Supervisor } from './supervisor.ts'
import type { LogLevel } from './values.ts'

/** Editors write a file in several steps, and tools several files: all that comes so close together is one change. */
const quietMs = 100
/** Whoever waits for his change does not want to wait for long tasks; they run again in the new worker. */
const hurryAfterMs = { abort: 3_000, kill: 20_000 }
/** What modules are, and import. Databases, logs and what tasks write are none of it. */
const isModule = /\.([cm]?[jt]sx?|json|node|wasm)$/

/** Resolves with the exit code when the worker was stopped, not when it failed: the next change may mend it. */
export async function superviseReloads(module: string, format: LogFormat, level: LogLevel): Promise<number> {
  const logger = await createLogger(format, level)
  const folder = dirname(resolve(module))
  // Where the folder is not there, no change will mend it.
  const supervisor = new Supervisor({ logger, outlivesFailures: existsSync(folder), hurryAfterMs })
  const stop = onModuleChange(folder, logger, (file) => {
    logger.info({}, `${file} has changed; starting again`)
    supervisor.restart()
  })
  try {
    return await supervisor.run()
  } finally {
    stop()
  }
}

/**
 * Tells of changes in the folder and below it, by the name of the first file of each. Watches each folder by itself:
 * Node's own recursive watching would watch every file, those of node_modules too.
 */
export function onModuleChange(folder: string, logger: Logger, listener: (file: string) => void): () => void {
  const watchers = new Map<string, FSWatcher>()
  let timer: NodeJS.Timeout | undefined
  let changed: string | undefined
  const onChange = (path: string): void => {
    changed ??= basename(path)
    clearTimeout(timer)
    timer = setTimeout(() => {
      const file = changed ?? ''
      changed = undefined
      listener(file)
    }, quietMs)
  }
  /** @param isNew its files may have come before it was watched */
  const add = (path: string, isNew: boolean): void => {
    if (watchers.has(path)) return
    try {
      const watcher = watch(path, (event, name) => onEvent(path, event, name))
      const forget = (): void => {
        watcher.close()
        watchers.delete(path)
      }
      watcher.on('error', forget)
      watchers.set(path, watcher)
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        if (entry.isDirectory() && isWatched(entry.name)) add(join(path, entry.name), isNew)
        else if (isNew && isModule.test(entry.name)) onChange(entry.name)
      }
    } catch (error) {
      // One that is gone again is no matter.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        logger.warn({ error }, `changes in ${path} cannot be seen`)
    }
  }
  const onEvent = (parent: string, event: string, name: string | null): void => {
    if (name === null || !isWatched(name)) return
    if (isModule.test(name)) onChange(name)
    else if (event === 'rename') replace(join(parent, name))
  }
  /** A folder that was removed and made again is a new one. */
  const replace = (path: string): void => {
    watchers.get(path)?.close()
    watchers.delete(path)
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) add(path, true)
  }
  add(folder, false)
  return () => {
    clearTimeout(timer)
    for (const watcher of watchers.values()) watcher.close()
  }
}

function isWatched(name: string): boolean {
  return name !== 'node_modules' && !name.startsWith('.')
}
