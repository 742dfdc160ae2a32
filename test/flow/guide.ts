/**
 * The examples of Celery's guide to canvases (https://docs.celeryq.dev/en/stable/userguide/canvas.html), to be run with
 * whatever workers have the three tasks.
 */
import { type AnyCanvas, chain, chord, group, type Task } from 'celeriac'

type Binary = Task<[x: number, y: number], number, [x: number, y: number]>

export interface GuideTasks {
  readonly add: Binary
  readonly mul: Binary
  readonly xsum: Task<[numbers: number[]], number, [numbers: number[]]>
}

interface Example {
  readonly name: string
  readonly value: unknown
  readonly compose: (tasks: GuideTasks) => AnyCanvas
}

const ten = Array.from({ length: 10 }, (_, n): [number, number] => [n, n])
const doubled = ten.map(([n]) => 2 * n)

export const guide: readonly Example[] = [
  { name: 'add.s(2, 2)', value: 4, compose: ({ add }) => add.s(2, 2) },
  {
    name: 'chain of immutable signatures',
    value: 16,
    compose: ({ add }) => chain(add.si(2, 2), add.si(4, 4), add.si(8, 8)),
  },
  {
    name: '(4 + 4) * 8 * 10',
    value: 640,
    compose: ({ add, mul }) => chain(add.s(4, 4), mul.s(8), mul.s(10)),
  },
  { name: 'the same by pipes', value: 640, compose: ({ add, mul }) => add.s(4, 4).pipe(mul.s(8)).pipe(mul.s(10)) },
  { name: 'group', value: doubled, compose: ({ add }) => group(ten.map(([x, y]) => add.s(x, y))) },
  {
    name: 'chord',
    value: 90,
    compose: ({ add, xsum }) =>
      chord(
        ten.map(([x, y]) => add.s(x, y)),
        xsum.s(),
      ),
  },
  {
    name: 'a group chained to a task is a chord',
    value: 90,
    compose: ({ add, xsum }) => group(ten.map(([x, y]) => add.s(x, y))).pipe(xsum.s()),
  },
  {
    name: 'a task chained to a group',
    value: [80, 12],
    compose: ({ add, mul }) => chain(add.s(4, 4), group(mul.s(10), add.s(4))),
  },
  {
    name: 'chains within a group within a chain',
    value: 162,
    compose: ({ add, mul, xsum }) => chain(add.s(4, 16), group(chain(mul.s(2), mul.s(4)), add.s(-18)), xsum.s()),
  },
  {
    name: 'a chord with a chain as its body',
    value: 60,
    compose: ({ add, mul, xsum }) => chord([add.s(1, 1), add.s(2, 2)], chain(xsum.s(), mul.s(10))),
  },
  {
    name: 'a chord as a member of a chord',
    value: 12,
    compose: ({ add, xsum }) => {
      const inner = chord([add.s(1, 1), add.s(2, 2)], xsum.s())
      return chord([inner, inner], xsum.s())
    },
  },
  {
    name: 'map',
    value: [45, 190],
    compose: ({ xsum }) => xsum.map([ten.map(([n]) => n), Array.from({ length: 20 }, (_, n) => n)]),
  },
  { name: 'starmap', value: doubled, compose: ({ add }) => add.starmap(ten) },
  {
    name: 'chunks',
    value: [doubled.slice(0, 4), doubled.slice(4, 8), doubled.slice(8)],
    compose: ({ add }) => add.chunks(ten, 4),
  },
  {
    name: 'skewed chunks',
    value: [doubled.slice(0, 5), doubled.slice(5)],
    compose: ({ add }) => add.chunks(ten, 5).skew({ start: 0.01, stop: 0.1, step: 0.05 }),
  },
]
