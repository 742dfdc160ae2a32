/** Asks for a secret without showing it. Where nobody is at the terminal, it is the first line of stdin. */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

export function askSecret(question: string): Promise<string> {
  const { stdin, stderr } = process
  const isTerminal = stdin.isTTY === true
  if (isTerminal) stderr.write(question)
  // What is typed is echoed by readline, and goes nowhere.
  const output = new Writable({ write: (_chunk, _encoding, done) => done() })
  const prompt = createInterface({ input: stdin, output, terminal: isTerminal })
  return new Promise((resolve, reject) => {
    prompt.once('line', (line) => {
      resolve(line)
      prompt.close()
      if (isTerminal) stderr.write('\n')
    })
    prompt.once('SIGINT', () => {
      reject(new Error('cancelled'))
      prompt.close()
    })
    prompt.once('close', () => resolve(''))
  })
}
