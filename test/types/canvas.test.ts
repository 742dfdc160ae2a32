/** Which groups and chords compile, and how long that takes. See `tasks.test.ts` for how this is checked. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type AsyncResult,
  Celeriac,
  type Chain,
  type Chord,
  chain,
  chord,
  type Group,
  type GroupResult,
  group,
  type Settled,
  type Signature,
} from 'celeriac'
import { expect, expectTypeOf, it } from 'vitest'

const app = new Celeriac('types', { broker: 'memory://types' })

const add = app.task('add', (x: number, y: number) => x + y)
const text = app.task('text', (n: number) => String(n))
const total = app.task('total', (numbers: readonly number[]) => numbers.length)
const pair = app.task('pair', ([n, s]: [number, string]) => `${n}${s}`)
const settledPair = app.task('settled pair', (ends: Settled<number>[]) => ends.length)
const length = app.task('length', (s: string) => s.length)
const report = app.task('report', (id: string) => id)

/** Checked by the compiler, never called. */
function compiles(_body: () => unknown): void {}

it('a group gives the tuple of what its members give, a list of one kind gives a list', () => {
  expectTypeOf(group(add.s(1, 2), text.s(1))).toEqualTypeOf<Group<[number, string], []>>()
  expectTypeOf(group([add.s(1, 2), add.s(3, 4)])).toEqualTypeOf<Group<[number, number], []>>()
  expectTypeOf(group([1, 2].map((n) => add.s(n, n)))).toEqualTypeOf<Group<number[], []>>()
  expectTypeOf(group(add.s(1, 2), group(text.s(1)))).toEqualTypeOf<Group<[number, [string]], []>>()
  expectTypeOf(group(add.s(1), text.s())).toEqualTypeOf<Group<[number, string], [number]>>()
  expectTypeOf(group(add.s(1, 2)).delay).returns.resolves.toEqualTypeOf<GroupResult<[number]>>()
  expectTypeOf(add.chunks([[1, 2]], 10)).toEqualTypeOf<Group<number[][]>>()
  expectTypeOf(add.starmap([[1, 2]])).toEqualTypeOf<Signature<[], number[]>>()
  expectTypeOf(text.map([1, 2])).toEqualTypeOf<Signature<[], string[]>>()
})

it('a chain that ends in a group has the result of a group, and a group in the middle hands on a list', () => {
  expectTypeOf(chain(add.s(1, 2), group(add.s(1), text.s()))).toEqualTypeOf<Chain<[number, string], [], 'group'>>()
  expectTypeOf(chain(add.s(1, 2), group(add.s(1), text.s())).delay).returns.resolves.toEqualTypeOf<
    GroupResult<[number, string]>
  >()
  expectTypeOf(chain(add.s(1, 2), group(add.s(1), text.s()), pair.s())).toEqualTypeOf<Chain<string>>()
  expectTypeOf(group(add.s(1, 2), add.s(3, 4)).pipe(total.s()).pipe(text.s())).toEqualTypeOf<Chain<string, []>>()
  expectTypeOf(add.s(1).pipe(text.s())).toEqualTypeOf<Chain<string, [number]>>()
})

it('a chord gives what its body gives, and takes what its header takes', () => {
  expectTypeOf(chord([add.s(1, 2), text.s(1)], pair.s())).toEqualTypeOf<Chord<string, []>>()
  expectTypeOf(chord(group(add.s(1), add.s(2)), total.s())).toEqualTypeOf<Chord<number, [number]>>()
  expectTypeOf(chord([add.s(1, 2)], group(total.s(), total.s())).delay).returns.resolves.toEqualTypeOf<
    GroupResult<[number, number]>
  >()
  expectTypeOf(chord([add.s(1, 2)], total.s()).delay).returns.resolves.toEqualTypeOf<AsyncResult<number>>()
  expectTypeOf(chord([add.s(1, 2)], settledPair.s(), { onError: 'settle' })).toEqualTypeOf<Chord<number, []>>()
})

it('what does not fit is an error where it stands', () => {
  compiles(() => [
    // @ts-expect-error the body takes a list of numbers
    chord([add.s(1, 2), text.s(1)], total.s()),
    // @ts-expect-error the body takes a pair
    chord([add.s(1, 2)], pair.s()),
    // @ts-expect-error the body of a chord that settles gets how the members ended
    chord([add.s(1, 2)], total.s(), { onError: 'settle' }),
    // @ts-expect-error the body has all its arguments
    chord([add.s(1, 2)], add.s(1, 2)),
    chord([add.s(1, 2)], add.si(1, 2)),
    // @ts-expect-error the step after a group takes a list
    chain(group(add.s(1, 2), add.s(3, 4)), text.s()),
    // @ts-expect-error one member does not take what comes
    chain(add.s(1, 2), group(add.s(1), length.s())),
    // @ts-expect-error one member has all its arguments, the other one does not
    group(add.s(1, 2), add.s(1)).delay(),
    // @ts-expect-error a member lacks an argument
    group(add.s(1)).delay(),
    // @ts-expect-error the header lacks an argument
    chord([add.s(1)], total.s()).delay(),
    // @ts-expect-error `onError` is one of three words
    chord([add.s(1, 2)], total.s(), { onError: 'ignore' }),
    // @ts-expect-error the next step takes a text
    add.s(1, 2).pipe(length.s()),
    // @ts-expect-error the items are numbers
    text.map(['a']),
    // @ts-expect-error the calls are pairs
    add.starmap([[1]]),
  ])
})

it('callbacks take the value, error callbacks an id', () => {
  compiles(() => [
    add.s(1, 2).link(text.s()).onError(report.s()),
    chord([add.s(1, 2)], total.s())
      .link(text.s())
      .linkError(report.si('x')),
    // @ts-expect-error the value is a number
    add.s(1, 2).link(length.s()),
    // @ts-expect-error the id is a text
    add.s(1, 2).linkError(text.s()),
  ])
})

it('a chain of twelve steps and a chord of twenty members stay within the budget of the compiler', () => {
  const folder = mkdtempSync(join(import.meta.dirname, 'budget-'))
  try {
    const check = (lines: readonly string[]): number => {
      const imports = "import { Celeriac, chain, chord } from 'celeriac'"
      const tasks = "const add = new Celeriac('b').task('add', (x: number, y: number) => x + y)"
      const sum = "const sum = new Celeriac('c').task('sum', (all: number[]) => all.length)"
      writeFileSync(join(folder, 'budget.ts'), [imports, tasks, sum, ...lines].join('\n'))
      const options = { extends: '../../../tsconfig.json', compilerOptions: { noEmit: true }, include: ['budget.ts'] }
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(options))
      const tsc = join(import.meta.dirname, '../../node_modules/.bin/tsc')
      const said = execFileSync(tsc, ['-p', folder, '--extendedDiagnostics'], { encoding: 'utf8' })
      return Number(/Instantiations:\s+(\d+)/.exec(said)?.[1])
    }
    const steps = Array.from({ length: 11 }, (_, n) => `add.s(${n})`)
    const members = Array.from({ length: 20 }, (_, n) => `add.s(${n}, ${n})`)

    const empty = check(['export const nothing = [add, sum, chain, chord]'])
    const full = check([
      `export const long = chain(add.s(1, 2), ${steps})`,
      `export const wide = chord([${members}], sum.s())`,
    ])

    expect(full - empty).toBeLessThan(15_000)
  } finally {
    rmSync(folder, { recursive: true })
  }
}, 60_000)
