/** Which failures are alike: the same error, thrown at the same place, whatever numbers and names its message has. */
import { createHash } from 'node:crypto'

export interface Failure {
  readonly task: string | null
  readonly reason: string
  readonly error: { readonly type: string; readonly message: string; readonly traceback: string | null } | null
}

export interface Fingerprint {
  /** 16 hexadecimal digits. */
  readonly fingerprint: string
  /** File and line, or function; null where the error does not say it. */
  readonly place: string | null
}

export function fingerprintOf({ task, reason, error }: Failure): Fingerprint {
  const place = placeOf(error?.traceback ?? null)
  const shape = error === null ? reason : [error.type, place ?? withoutDetails(error.message)].join('|')
  const hash = createHash('sha256').update(`${task}|${shape}`)
  return { fingerprint: hash.digest('hex').slice(0, 16), place }
}

/** The innermost frame that is not of a library. Of JavaScript's stacks that is the first, of Python's the last. */
function placeOf(traceback: string | null): string | null {
  if (traceback === null) return null
  const text = traceback.slice(0, 20_000)
  const python = [...text.matchAll(/^ {2}File "([^"\n]{1,300})", line (\d+), in ([^\n]{1,100})/gm)].map(
    ([, file, line, name]) => ({ file: file ?? '', place: `${shortened(file ?? '')}:${line} in ${name}` }),
  )
  const script = [...text.matchAll(/^\s{1,8}at (?:([^\n(]{1,200}) \()?([^\n()]{1,300}):(\d+):\d+\)?$/gm)].map(
    ([, name, file, line]) => ({
      file: file ?? '',
      place: `${shortened(file ?? '')}:${line}${name ? ` in ${name}` : ''}`,
    }),
  )
  const frames = python.length > 0 ? python.reverse() : script
  return (frames.find(({ file }) => !isLibrary(file)) ?? frames[0])?.place ?? null
}

function isLibrary(file: string): boolean {
  return /^node:|[\\/]node_modules[\\/]|[\\/](?:site|dist)-packages[\\/]/.test(file)
}

/** Machines have their programs in different folders. */
function shortened(file: string): string {
  return file
    .replace(/^file:\/\//, '')
    .split(/[\\/]/)
    .slice(-2)
    .join('/')
}

function withoutDetails(message: string): string {
  return message
    .slice(0, 500)
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/gi, '#')
    .replace(/0x[0-9a-f]+|\d+/gi, '#')
    .replace(/'[^']*'|"[^"]*"/g, "'…'")
}
