/** `--pidfile`: says which process the worker is, and keeps a second one from starting beside it. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { CeleriacError } from '../errors.ts'
import { messageOf } from './failure.ts'

/**
 * Writes the file, and removes it when this process exits. One that names a process that is gone is taken over, and so is
 * one that names this very process: in a container every start may have the same number.
 * @throws CeleriacError `CONFIG_INVALID`: it names another process that runs, or cannot be written
 */
export function holdPidfile(file: string): void {
  const path = resolve(file)
  const pid = readPid(path)
  if (pid !== undefined && pid !== process.pid && isAlive(pid)) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `the pid file ${file} names process ${pid}, which is running; end it first, or remove the file if that is no worker`,
    )
  }
  try {
    if (pid !== undefined) rmSync(path, { force: true })
    // Not over what another one has written since.
    writeFileSync(path, `${process.pid}\n`, { flag: 'wx' })
  } catch (error) {
    throw new CeleriacError('CONFIG_INVALID', `the pid file ${file} cannot be written: ${messageOf(error)}`, {
      cause: error,
    })
  }
  process.on('exit', () => {
    if (readPid(path) === process.pid) rmSync(path, { force: true })
  })
}

/** What the file says; 0 where it is there and names no process. */
function readPid(path: string): number | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim()
    return /^[1-9]\d*$/.test(text) ? Number(text) : 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new CeleriacError('CONFIG_INVALID', `the pid file ${path} cannot be read: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

function isAlive(pid: number): boolean {
  if (pid === 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // It is there, but somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
