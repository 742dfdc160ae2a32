/** Our service: the TypeScript twins of the tasks in `python/service.py`. */
import { appendFileSync, existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Celeriac, group } from 'celeriac'

export class OutOfStock extends Error {
  override readonly name = 'OutOfStock'
}

export type Tasks = ReturnType<typeof defineTasks>

export function defineTasks(app: Celeriac, log: string) {
  const note = (line: string): void => appendFileSync(log, `${line}\n`)

  return {
    echo: app.task('ts.echo', (...args: unknown[]) => args),

    types: app.task('ts.types', (...args: unknown[]) =>
      args.map((value) => (value instanceof Date ? `Date ${value.toISOString()}` : `${typeof value} ${value}`)),
    ),

    add: app.task('ts.add', (x: number, y: number) => x + y),

    fail: app.task('ts.fail', (kind: string = 'builtin') => {
      if (kind === 'own') throw new OutOfStock('no bolts left')
      throw new TypeError(`no good: ä ${kind}`)
    }),

    flaky: app.task('ts.flaky', { bind: true, maxRetries: 3 }, (ctx, failures: number) => {
      if (ctx.retries >= failures) return ctx.retries
      throw ctx.retry({ countdown: '100ms', cause: new Error(`failure ${ctx.retries + 1}`) })
    }),

    silent: app.task('ts.silent', { ignoreResult: true }, (text: string) => note(`silent ${text}`)),

    note: app.task('ts.note', (text: string) => {
      note(text)
      return text
    }),

    clock: app.task('ts.clock', () => Date.now() / 1_000),

    request: app.task('ts.request', { bind: true }, (ctx) => ({
      id: ctx.taskId,
      root_id: ctx.rootId,
      parent_id: ctx.parentId,
      retries: ctx.retries,
      eta: ctx.headers.eta,
      expires: ctx.headers.expires,
      timelimit: ctx.headers.timelimit,
      mine: ctx.headers.mine,
    })),

    mul: app.task('ts.mul', (x: number, y: number) => x * y),

    sum: app.task('ts.sum', (numbers: number[]) => numbers.reduce((all, n) => all + n, 0)),

    /** Adds Python members to the chord it is in. */
    grow: app.task('ts.grow', { bind: true }, (ctx, n: number) => {
      for (let more = 0; more < n; more++) ctx.addToChord(app.remote<[number, number], number>('py.add').s(100, more))
      return n
    }),

    /** Goes on as a group of both languages. */
    become: app.task('ts.become', { bind: true }, (ctx, x: number): number[] => {
      const add = app.remote<[number, number], number>('ts.add')
      throw ctx.replace(group(app.remote<[number, number], number>('py.add').s(x, 1), add.s(x, 2)))
    }),

    /** Runs until the file `gate` exists. */
    hold: app.task('both.hold', { bind: true }, async (ctx, gate: string) => {
      note(`start ts ${ctx.taskId}`)
      while (!existsSync(gate)) await sleep(20)
      note(`end ts ${ctx.taskId}`)
      return 'ts'
    }),

    count: app.task('both.count', (number: number) => {
      note(`ts ${number}`)
      return number
    }),
  }
}
