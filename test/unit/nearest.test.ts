import fc from 'fast-check'
import { expect, it } from 'vitest'
import { nearest } from '../../src/nearest.ts'

const words = ['countdown', 'expires', 'priority', 'queue', 'taskId', 'eta']

it.each([
  ['countdwn', 'countdown'],
  ['Priority', 'priority'],
  ['prioritys', 'priority'],
  ['quueue', 'queue'],
  ['queeu', 'queue'],
  ['taskid', 'taskId'],
  ['task_id', 'taskId'],
  ['eta', 'eta'],
])('%s is meant to be %s', (word, meant) => {
  expect(nearest(word, words)).toBe(meant)
})

it.each(['colour', 'x', '', 'retries'])('%j is near to none', (word) => {
  expect(nearest(word, words)).toBeUndefined()
})

it('knows nothing where nothing is known', () => {
  expect(nearest('queue', [])).toBeUndefined()
})

it('finds every known word, and every one with a single mistake in it', () => {
  const word = fc.constantFrom(...words.filter((known) => known.length > 3))
  const mistake = fc.property(word, fc.nat(), fc.constantFrom('drop', 'double', 'swap'), (known, at, kind) => {
    const i = at % (known.length - 1)
    const wrong = {
      drop: known.slice(0, i) + known.slice(i + 1),
      double: known.slice(0, i) + known[i] + known.slice(i),
      swap: known.slice(0, i) + known[i + 1] + known[i] + known.slice(i + 2),
    }[kind]

    expect(nearest(known, words)).toBe(known)
    expect(nearest(wrong, words)).toBe(known)
  })
  fc.assert(mistake)
})
