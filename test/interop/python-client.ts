/** A Python process beside the tests, as a Celery producer: it runs the Python text that a test gives it. */
import { join } from 'node:path'
import { Program } from '../servers/program.ts'
import { pythonWithCelery } from '../servers/python.ts'

export const pythonFolder = join(import.meta.dirname, 'python')

/** What Python raised: `name` is the class, `message` its text. */
export class PythonError extends Error {
  readonly traceback: string

  constructor(name: string, message: string, traceback: string) {
    super(message)
    this.name = name
    this.traceback = traceback
  }
}

export interface PythonClient {
  /** The value of the text's last expression, as JSON. Names live on from one call to the next. @throws PythonError */
  run<T = unknown>(code: string, given?: Readonly<Record<string, unknown>>): Promise<T>
  stop(): Promise<void>
}

interface Answer {
  readonly value?: unknown
  readonly error?: string
  readonly message?: string
  readonly traceback?: string
}

/** @param env what `service.py` reads */
export function startPythonClient(env: Readonly<Record<string, string>>): PythonClient {
  const waiting: ((answer: Answer) => void)[] = []
  let unread = ''
  const program = new Program({
    command: pythonWithCelery() as string,
    args: ['-u', 'client.py'],
    cwd: pythonFolder,
    env: { PYTHONDONTWRITEBYTECODE: '1', ...env },
    onStdout: (text) => {
      const lines = `${unread}${text}`.split('\n')
      unread = lines.pop() ?? ''
      for (const line of lines) waiting.shift()?.(JSON.parse(line) as Answer)
    },
  })
  void program.ended.then(() => {
    for (const answer of waiting.splice(0)) answer({ error: 'Ended', message: program.said, traceback: '' })
  })
  return {
    run: async <T>(code: string, given: Readonly<Record<string, unknown>> = {}) => {
      program.write(`${JSON.stringify({ code, given })}\n`)
      const {
        value,
        error,
        message = '',
        traceback = '',
      } = await new Promise<Answer>((resolve) => {
        waiting.push(resolve)
      })
      if (error !== undefined) throw new PythonError(error, message, traceback)
      return value as T
    },
    stop: () => program.kill(),
  }
}

/** Python as a monitor: what it has heard is in `heard`. */
export const startReceiver = `
import threading
heard = []
def listen():
    with app.connection_for_read() as connection:
        app.events.Receiver(connection, handlers={"*": heard.append}).capture(wakeup=False)
threading.Thread(target=listen, daemon=True).start()
`
