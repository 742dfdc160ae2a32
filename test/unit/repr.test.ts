import { describe, expect, it } from 'vitest'
import { argsRepr, kwargsRepr } from '../../src/send/repr.ts'
import { captured } from '../flow/captured.ts'

/** Python knows tuples, dates and decimals, which JSON does not tell apart. */
const isPlain = ({ name }: { name: string }): boolean => !/special|map|chunks/.test(name)
const messages = captured().filter(
  (message) => message.isJson && message.headers.task !== undefined && isPlain(message),
)

describe('the text of arguments', () => {
  it.each(messages.map(({ name, message, headers }) => [name, message, headers] as const))(
    'is that of Python: <%s>',
    (_name, message, headers) => {
      const [args, kwargs] = JSON.parse(String(message.body))

      expect(argsRepr(args)).toBe(headers.argsrepr)
      expect(kwargsRepr(kwargs)).toBe(headers.kwargsrepr)
    },
  )

  it.each([
    [[], '()'],
    [[1], '(1,)'],
    [[1, 'two', null, true, false, undefined, 1.5], "(1, 'two', None, True, False, None, 1.5)"],
    [[[1, [2]], { a: { b: 'ä' } }], "([1, [2]], {'a': {'b': 'ä'}})"],
    [["it's", 'a\\b', 'a\nb'], "(\"it's\", 'a\\\\b', 'a\\nb')"],
    [[new Date(0)], "('1970-01-01T00:00:00.000Z',)"],
    [[new Uint8Array([255, 0, 16])], "(b'ff0010',)"],
  ])('%j is %s', (args, text) => {
    expect(argsRepr(args)).toBe(text)
  })

  it('is cut at 1,024 characters', () => {
    const long = argsRepr(['x'.repeat(10_000_000), { y: 'y'.repeat(10_000_000) }])
    const deep = kwargsRepr({ list: Array.from({ length: 1_000_000 }, (_, i) => ({ i })) })
    const bytes = argsRepr([new Uint8Array(10_000_000)])

    for (const text of [long, deep, bytes]) {
      expect(text).toHaveLength(1_024)
      expect(text.endsWith('...')).toBe(true)
    }
  })
})
