/** Starting other programs from the scripts: their output, their failure, and their end when we are told to end. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's root; every path in the scripts is relative to it. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** A step that went wrong. `message` says what happened, `advice` what to do, `output` is what the program printed. */
export class StepFailed extends Error {
  constructor(message, { advice = '', output = '' } = {}) {
    super(message)
    this.advice = advice
    this.output = output
  }
}

/**
 * Runs a program to its end and returns its exit code (127 when it does not exist) and what it printed.
 * `show` says where its output goes as it comes: 'nowhere' (only captured), 'stderr' (captured too) or 'terminal'
 * (inherited, so that it may draw; nothing is captured).
 */
export function run(command, args, { cwd = root, show = 'nowhere', env = process.env } = {}) {
  return new Promise((resolve) => {
    const stdio = show === 'terminal' ? 'inherit' : ['ignore', 'pipe', 'pipe']
    // npm is a .cmd file on Windows, which only a shell can start.
    const child = spawn(command, args, { cwd, env, stdio, shell: process.platform === 'win32' && command === 'npm' })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        output += text
        if (show === 'stderr') process.stderr.write(text)
      })
    }
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    const passOn = (signal) => {
      child.kill(signal)
      process.exit(128 + constants.signals[signal])
    }
    const finish = (code) => {
      for (const signal of signals) process.off(signal, passOn)
      resolve({ code, output })
    }
    for (const signal of signals) process.on(signal, passOn)
    child.once('error', (error) => {
      output += `${error.message}\n`
      finish(error.code === 'ENOENT' ? 127 : 126)
    })
    child.once('close', (code, signal) => finish(code ?? 128 + constants.signals[signal]))
  })
}

/** Runs a command-line program of an installed package with this very Node. */
export function runBin(packageName, binName, args, options) {
  const folder = join(root, 'node_modules', packageName)
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return run(process.execPath, [join(folder, typeof bin === 'string' ? bin : bin[binName]), ...args], options)
}

/** Progress for people, on stderr: stdout belongs to the program that is started in the end. */
export function say(line) {
  process.stderr.write(`${line}\n`)
}

/** Runs the body of a script; a failed step is told in full and ends the process with code 1. */
export async function script(body) {
  try {
    await body()
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error
    say(tell(error))
    process.exit(1)
  }
}

/** What went wrong and what to do, as lines for people. */
export function tell(failure) {
  const indented = failure.output.trimEnd().replace(/^(?=.)/gm, '    ')
  const parts = [indented, `  FAILED: ${failure.message}`, failure.advice && `  What to do: ${failure.advice}`]
  return parts.filter(Boolean).join('\n')
}
