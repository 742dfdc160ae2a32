/** Asks before something is lost. Without a person at the terminal, --yes must have said it. */
import { createInterface } from 'node:readline/promises'
import { CeleriacError } from '../errors.ts'
import { UsageError } from './values.ts'

/** @throws UsageError nobody can be asked; CeleriacError `CLOSED` the answer was no */
export async function confirm(question: string, isYes: boolean): Promise<void> {
  if (isYes) return
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError(`${question} This cannot be undone, and nobody is at the terminal to ask: say --yes`)
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await prompt.question(`${question} This cannot be undone. [y/N] `)
    if (!/^\s*y(es)?\s*$/i.test(answer)) throw new CeleriacError('CLOSED', 'nothing was changed')
  } finally {
    prompt.close()
  }
}
