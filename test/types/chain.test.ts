/** Which chains compile. See `tasks.test.ts` for how this is checked. */
import { type AsyncResult, Celeriac, Chain, chain, type Signature } from 'celeriac'
import { expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'

const app = new Celeriac('types', { broker: 'memory://types' })

const receive = app.task('receive', (id: string) => ({ id, quantity: 2 }))
const Picked = z.object({ id: z.string(), quantity: z.coerce.number<string | number>(), bin: z.string().default('A1') })
const pick = app.task('pick', { input: Picked }, (order) => order)
const pack = app.task('pack', (order: { id: string; bin: string }, boxes: number) => `${order.id}/${boxes}`)
const deliver = app.task('deliver', async (parcel: string) => parcel.length)
const add = app.task('add', (x: number, y: number) => x + y)
const ring = app.task('ring', () => true)
const bound = app.task('bound', { bind: true }, (_ctx, n: number) => String(n))
const remote = app.remote<[text: string], { text: string }>('proj.wrap')
const anything = app.task('anything', (value: unknown) => value)

/** Checked by the compiler, never called. */
function compiles(_body: () => unknown): void {}

it('a chain gives what its last step gives', async () => {
  const fulfil = chain(receive.s('A-1'), pick.s(), pack.s(3), deliver.s())

  expectTypeOf(fulfil).toEqualTypeOf<Chain<number>>()
  expectTypeOf(fulfil.delay).returns.resolves.toEqualTypeOf<AsyncResult<number>>()
  expectTypeOf(chain(deliver.s('x'))).toEqualTypeOf<Chain<number>>()
  expect(fulfil).toBeInstanceOf(Chain)
})

it('a signature says what it still takes, and what it gives', () => {
  expectTypeOf(add.s(1, 2)).toEqualTypeOf<Signature<[], number>>()
  expectTypeOf(add.s(2)).toEqualTypeOf<Signature<[number], number>>()
  expectTypeOf(deliver.s()).toEqualTypeOf<Signature<[string], number>>()
  expectTypeOf(ring.s()).toEqualTypeOf<Signature<[], boolean>>()
  expectTypeOf(add.s(2).set({ queue: 'sums' })).toEqualTypeOf<Signature<[number], number>>()
})

it('each step takes what the step before it gives', () => {
  compiles(() => [
    chain(add.s(1, 2), add.s(3), add.s(4), bound.s(), deliver.s(), bound.s(), remote.s(), anything.s()),
    chain(ring.s(), anything.s()),
    // @ts-expect-error a boolean is no number
    chain(ring.s(), add.s(1)),
    // @ts-expect-error a number is no text
    chain(add.s(1, 2), deliver.s()),
    // @ts-expect-error the fourth step does not take what the third gives
    chain(receive.s('A-1'), pick.s(), pack.s(3), add.s(1)),
    // @ts-expect-error what the foreign task gives is no text
    chain(remote.s('x'), deliver.s()),
  ])
})

it('a chain whose first step lacks an argument is part of something else, and cannot be sent alone', () => {
  expectTypeOf(chain(add.s(1), add.s(1))).toEqualTypeOf<Chain<number, [number]>>()
  compiles(() => [
    chain(add.s(1, 2), add.s(1)).delay(),
    // @ts-expect-error an argument is missing
    chain(add.s(1), add.s(1)).delay(),
    // @ts-expect-error the input is missing
    chain(pick.s(), pack.s(1)).delay(),
    // @ts-expect-error an argument is missing
    chain(deliver.s()).applyAsync({ countdown: 5 }),
    // @ts-expect-error what lacks an argument cannot be sent alone either
    deliver.s().delay(),
  ])
})

it('a later step leaves its first argument open, or is made with `si`', () => {
  compiles(() => [
    chain(add.s(1, 2), add.si(3, 4), add.s(5)),
    chain(add.s(1, 2), ring.si()),
    chain(receive.s('A-1'), pick.si({ id: 'B', quantity: '2' }), pack.s(1)),
    chain(add.si(1, 2), add.s(3)),
    // @ts-expect-error it has all its arguments already
    chain(add.s(1, 2), add.s(3, 4)),
    // @ts-expect-error it takes nothing
    chain(add.s(1, 2), ring.s()),
    // @ts-expect-error `si` takes all the arguments
    chain(add.s(1, 2), add.si(3)),
    // @ts-expect-error it needs more than its first argument
    chain(receive.s('A-1'), pick.s(), pack.s()),
  ])
})

it('a step with a schema takes what its schema takes, and gives what its function returns', () => {
  const both = app.task('both', () => ({ id: 'A', quantity: 'three' }))
  const wrong = app.task('wrong', () => ({ id: 7, quantity: 1 }))

  expectTypeOf(pick.s()).toEqualTypeOf<
    Signature<
      [{ id: string; quantity: string | number; bin?: string | undefined }],
      { id: string; quantity: number; bin: string }
    >
  >()
  compiles(() => [
    chain(both.s(), pick.s(), pack.s(1)),
    // @ts-expect-error `id` is no text
    chain(wrong.s(), pick.s()),
    // @ts-expect-error without `pick` there is no bin
    chain(receive.s('A-1'), pack.s(1)),
  ])
})

it('only signatures are steps', () => {
  compiles(() => [
    // @ts-expect-error a task is no signature
    chain(add.s(1, 2), deliver),
    chain(add.s(1, 2), chain(add.s(3), bound.s()), deliver.s()),
    // @ts-expect-error the chain within has all its arguments already
    chain(add.s(1, 2), chain(add.s(1, 2))),
  ])
})
