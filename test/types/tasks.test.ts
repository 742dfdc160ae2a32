/**
 * What compiles and what does not. `tsc` is the judge: a line under `@ts-expect-error` that compiles is an error, and so
 * is an `expectTypeOf` that does not hold. Nothing here is run, apart from the definitions.
 */
import { type AsyncResult, type CallOptions, Celeriac, type Task, type TaskContext } from 'celeriac'
import { expectTypeOf, it } from 'vitest'
import { z } from 'zod'

const app = new Celeriac('types', { broker: 'memory://types' })

const add = app.task('add', (x: number, y: number) => x + y)
const slow = app.task('slow', async (name: string, times?: number) => name.repeat(times ?? 1))
const bound = app.task('bound', { bind: true }, (ctx, bin: string) => ({ bin, worker: ctx.worker }))
const none = app.task('none', () => undefined)
const Order = z.object({
  id: z.string(),
  quantity: z.coerce.number<string | number>(),
  note: z.string().default('none'),
  at: z.string().transform((text) => new Date(text)),
})
const pick = app.task('pick', { input: Order, queue: 'picking' }, (order) => order)
const remote = app.remote<[x: number, y: number], number>('proj.add')

/** Checked by the compiler, never called. */
function compiles(_body: () => unknown): void {}

it('a plain function gives its parameters and its return type', () => {
  expectTypeOf(add).toEqualTypeOf<Task<[x: number, y: number], number, [x: number, y: number]>>()
  expectTypeOf(add.delay).parameters.toEqualTypeOf<[x: number, y: number]>()
  expectTypeOf(add.delay).returns.resolves.toEqualTypeOf<AsyncResult<number>>()
  expectTypeOf(add.applyAsync).parameters.toEqualTypeOf<
    [call: [x: number, y: number], options?: CallOptions | undefined]
  >()
  expectTypeOf(add.delayMany).returns.resolves.toEqualTypeOf<AsyncResult<number>[]>()
  expectTypeOf<Awaited<ReturnType<AsyncResult<number>['get']>>>().toEqualTypeOf<number>()
})

it('an async function gives what its promise holds, and optional parameters stay optional', () => {
  expectTypeOf(slow.delay).parameters.toEqualTypeOf<[name: string, times?: number | undefined]>()
  expectTypeOf(slow.delay).returns.resolves.toEqualTypeOf<AsyncResult<string>>()
  compiles(() => [slow.delay('a'), slow.delay('a', 2), slow.applyAsync(['a']), slow.delayMany([['a'], ['b', 2]])])
})

it('with `bind: true` the context is not part of the call', () => {
  expectTypeOf(bound.delay).parameters.toEqualTypeOf<[bin: string]>()
  expectTypeOf(bound.delay).returns.resolves.toEqualTypeOf<AsyncResult<{ bin: string; worker: string }>>()
  app.task('typed context', { bind: true }, (ctx) => expectTypeOf(ctx).toEqualTypeOf<TaskContext>())
})

it('a schema gives what is sent (its input) and what is run (its output)', () => {
  type Sent = { id: string; quantity: string | number; note?: string | undefined; at: string }
  type Run = { id: string; quantity: number; note: string; at: Date }

  expectTypeOf(pick.delay).parameters.toEqualTypeOf<[Sent]>()
  expectTypeOf(pick.applyAsync).parameter(0).toEqualTypeOf<Sent>()
  expectTypeOf(pick.delayMany).parameter(0).toEqualTypeOf<readonly Sent[]>()
  expectTypeOf(pick.delay).returns.resolves.toEqualTypeOf<AsyncResult<Run>>()
  app.task('typed input', { input: Order }, (order, ctx) => {
    expectTypeOf(order).toEqualTypeOf<Run>()
    expectTypeOf(ctx).toEqualTypeOf<TaskContext>()
  })
})

it('a task defined elsewhere has the types it is given', () => {
  expectTypeOf(remote.delay).parameters.toEqualTypeOf<[x: number, y: number]>()
  expectTypeOf(remote.delay).returns.resolves.toEqualTypeOf<AsyncResult<number>>()
})

it('a call that does not fit does not compile', () => {
  compiles(() => [
    // @ts-expect-error an argument is missing
    add.delay(1),
    // @ts-expect-error an argument has another type
    add.delay(1, '2'),
    // @ts-expect-error an argument too many
    add.delay(1, 2, 3),
    // @ts-expect-error the arguments are a list
    add.applyAsync(1, {}),
    // @ts-expect-error one of the calls lacks an argument
    add.delayMany([[1, 2], [3]]),
    // @ts-expect-error the context is not an argument
    bound.delay({}, 'A7'),
    // @ts-expect-error nothing was asked for
    none.delay(1),
    // @ts-expect-error the input lacks what has no default
    pick.delay({ id: 'A-1', quantity: 1 }),
    // @ts-expect-error what is sent is what the schema takes, not what it makes of it
    pick.delay({ id: 'A-1', quantity: 1, at: new Date() }),
    // @ts-expect-error an argument has another type
    remote.delay('1', 2),
  ])
})

it('a definition that does not fit does not compile', () => {
  compiles(() => [
    // @ts-expect-error `bin` is no option
    app.task('option', { bin: 1 }, () => 1),
    // @ts-expect-error a duration has a unit
    app.task('duration', { retryBackoff: '2 seconds' }, () => 1),
    // @ts-expect-error the function takes something else than the schema gives
    app.task('schema', { input: z.object({ id: z.string() }) }, (order: { id: number }) => order),
    // @ts-expect-error not an error class
    app.task('classes', { autoretryFor: ['Error'] }, () => 1),
    // @ts-expect-error `concurency` is no option
    app.worker({ concurency: 2 }),
  ])
})

it('the options of a call are checked', () => {
  compiles(() => [
    add.applyAsync([1, 2], { countdown: '5m', priority: 9, expires: new Date(), headers: { tenant: 'acme' } }),
    // @ts-expect-error a duration has a unit
    add.applyAsync([1, 2], { countdown: '5' }),
    add.applyAsync([1, 2], { serializer: 'msgpack', compression: 'gzip' }),
    app.remote<[], void>('proj.a', { serializer: 'yaml', compression: 'none' }),
    // @ts-expect-error a compression of Celery that is not ours
    add.applyAsync([1, 2], { compression: 'bzip2' }),
    // @ts-expect-error no such option
    app.remote<[], void>('proj.a', { delay: 5 }),
    // @ts-expect-error no such option
    add.applyAsync([1, 2], { delay: 5 }),
  ])
})
