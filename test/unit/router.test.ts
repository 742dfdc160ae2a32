import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createRouter } from '../../src/send/router.ts'

const route = (glob: string, task: string): boolean => createRouter({ [glob]: 'hit' })(task, [], {}).queue === 'hit'

it.each([
  ['images.*', 'images.resize', true],
  ['images.*', 'images.', true],
  ['images.*', 'images', false],
  ['images.*', 'my.images.resize', false],
  ['*.resize', 'images.resize', true],
  ['*', '', true],
  ['*', 'a\nb', true],
  ['a?c', 'abc', true],
  ['a?c', 'ac', false],
  ['a.c', 'abc', false],
  ['[ab]+(c)', '[ab]+(c)', true],
  ['a|b', 'a', false],
  ['^a$', 'a', false],
])('%j matches %j: %s', (glob, task, matches) => {
  expect(route(glob, task)).toBe(matches)
})

it('matches every name by itself, and by itself with a star at either end', () => {
  const name = fc.string({ minLength: 1 }).filter((text) => !/[*?]/.test(text))

  fc.assert(
    fc.property(name, fc.string(), (task, rest) => {
      expect(route(task, task)).toBe(true)
      expect(route(`${task}*`, task + rest)).toBe(true)
      expect(route(`*${task}`, rest + task)).toBe(true)
      expect(route(task, `${task}x`)).toBe(false)
    }),
  )
})

it('takes the first of several that match', () => {
  const router = createRouter({ 'a.b': 'first', 'a.*': { queue: 'second', priority: 3 }, '*': 'third' })

  expect(['a.b', 'a.c', 'b'].map((task) => router(task, [], {}))).toEqual([
    { queue: 'first' },
    { queue: 'second', priority: 3 },
    { queue: 'third' },
  ])
})

it('has no route without routes', () => {
  expect(createRouter(undefined)('a', [], {})).toEqual({})
  expect(createRouter(() => undefined)('a', [], {})).toEqual({})
})
