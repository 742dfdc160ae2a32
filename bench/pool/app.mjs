/** The application whose tasks run in children: they load this file, and so does who sends and works. */
import { Celeriac } from '../../dist/index.js'
import { burn, warmUp } from './burn.mjs'

export const app = new Celeriac('bench', {
  broker: process.env.BENCH_BROKER,
  results: false,
  durability: process.env.BENCH_DURABILITY,
  defaultQueue: 'bench',
})

// Each hands its number back, which nobody keeps: the worker counts what its children return.
export const noop = app.task('bench.noop', (data) => data.i)
export const work = app.task('bench.work', (i, rounds) => {
  burn(rounds)
  return i
})

warmUp()
