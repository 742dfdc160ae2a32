/** Asks before something is done that may be regretted. Without a person at the terminal, --yes must have said it. */
import { createInterface } from 'node:readline/promises'
import { note } from './output.ts'
import { UsageError } from './values.ts'

/** Whether to go on. @throws UsageError when nobody can be asked */
export async function confirm(
  question: string,
  isYes: boolean,
  consequence = 'This cannot be undone',
): Promise<boolean> {
  if (isYes) return true
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError(`${question} ${consequence}, and nobody is at the terminal to ask: say --yes`)
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await prompt.question(`${question} ${consequence}. [y/N] `)
    if (/^\s*y(es)?\s*$/i.test(answer)) return true
    note('nothing was changed')
    return false
  } finally {
    prompt.close()
  }
}
