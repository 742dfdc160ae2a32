import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeJson, encodeJson, fromJsonValue, toJsonValue } from '../../src/json.ts'
import { thrown } from '../flow/fixture.ts'

/** Data a task may be given: JSON's own, dates and bytes, at any depth. */
const data = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.string({ unit: 'binary' }),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
    fc.maxSafeInteger(),
    fc.date({ noInvalidDate: true, min: new Date('0000-01-01'), max: new Date('9999-12-31') }),
    fc.uint8Array({ maxLength: 20 }),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('__proto__', '__type__', 'toString')), tie('value'), {
      maxKeys: 5,
      noNullPrototype: true,
    }),
  ),
})).value

/** What marks a typed value on the wire, which data must not look like. */
function looksTyped(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const keys = Object.keys(value).sort().join()
  return keys === '__type__,__value__' || Object.values(value).some(looksTyped)
}

describe('a value as JSON', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(data, (value) => {
        fc.pre(!looksTyped(value))

        expect(decodeJson(encodeJson(value))).toEqual(value)
      }),
      { numRuns: 300 },
    )
  })

  it('is the same whether it is made text at once or as data first', () => {
    fc.assert(
      fc.property(data, (value) => {
        fc.pre(!looksTyped(value))
        const plain = JSON.parse(JSON.stringify(toJsonValue(value)))

        expect(fromJsonValue(plain)).toEqual(value)
        expect(encodeJson(value)).toBe(JSON.stringify(toJsonValue(value)))
      }),
      { numRuns: 200 },
    )
  })

  it('is what JSON.stringify makes of it, where JSON has all its types', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(!looksTyped(value))
        expect(encodeJson(value)).toBe(JSON.stringify(value))
      }),
    )
  })

  it.each([
    ['a date', new Date(0), '{"__type__":"datetime","__value__":"1970-01-01T00:00:00.000+00:00"}'],
    ['bytes', new Uint8Array([255, 0]), '{"__type__":"base64","__value__":"/wA="}'],
    ['a Buffer', Buffer.from('ä'), '{"__type__":"base64","__value__":"w6Q="}'],
    ['a Set', new Set([1, 'a']), '[1,"a"]'],
    ['a Map', new Map<string, unknown>([['a', 1]]), '{"a":1}'],
    ['undefined', undefined, 'null'],
    ['undefined in a list', [1, undefined], '[1,null]'],
    ['undefined in an object', { a: undefined, b: 1 }, '{"b":1}'],
    ['a small bigint', 7n, '7'],
    [
      'what has toJSON',
      { toJSON: () => ({ at: new Date(0) }) },
      '{"at":{"__type__":"datetime","__value__":"1970-01-01T00:00:00.000+00:00"}}',
    ],
    [
      'an instance of a class',
      new (class Box {
        width = 3
      })(),
      '{"width":3}',
    ],
    ['the same object twice', ((box) => [box, box])({ a: new Date(0) }), expect.stringMatching(/^\[(.+),\1\]$/)],
  ])('may be %s', (_what, value, json) => {
    expect(encodeJson(value)).toEqual(json)
  })

  it('is refused where something would be lost without a word', () => {
    const lossy = fc.constantFrom(Number.NaN, Infinity, -Infinity, Symbol('s'), () => 1, new Date(Number.NaN))
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b', 0, 1), { maxLength: 6 }), lossy, (path, value) => {
        const root = path.reduceRight<unknown>(
          (inner, key) => (key === 0 ? [inner] : key === 1 ? [0, inner] : { [key]: inner }),
          value,
        )
        const place = path
          .map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`))
          .join('')
          .replace(/^\./, '')

        const error = thrown(() => encodeJson(root))

        expect(error.code).toBe('PAYLOAD_INVALID')
        expect(error.message.startsWith(place === '' ? 'the value is ' : `\`${place}\` is `)).toBe(true)
      }),
    )
  })

  it('is refused where it goes round in a circle', () => {
    const list: unknown[] = []
    list.push({ list })

    expect(thrown(() => encodeJson(list)).message).toBe('`[0].list` is a cycle, which JSON cannot carry')
  })

  it('is refused where it looks like a typed value', () => {
    expect(thrown(() => encodeJson({ a: { __type__: 'date', __value__: 'x' } })).code).toBe('PAYLOAD_INVALID')
    expect(encodeJson({ __type__: 'date', __value__: 'x', more: 1 })).toBe(
      '{"__type__":"date","__value__":"x","more":1}',
    )
  })
})

describe('a whole number beyond 2^53', () => {
  const long = 12_345_678_901_234_567_890n

  it('is written with all its digits, and read as bigint where a number would lose some', () => {
    const text = encodeJson({ ids: [long, -long, 7n], note: `"${long}"` })

    expect(text).toBe(`{"ids":[${long},-${long},7],"note":"\\"${long}\\""}`)
    expect(decodeJson(text)).toEqual({ ids: [long, -long, 7], note: `"${long}"` })
  })

  it('comes back whatever stands around it', () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.string(),
        fc.double({ noNaN: true, noDefaultInfinity: true }).filter((number) => !Object.is(number, -0)),
        fc.bigInt().filter((number) => String(Number(number)) !== String(number)),
        fc.array(tie('any')),
        fc.dictionary(fc.string(), tie('any'), { noNullPrototype: true }),
      ),
    })).any

    fc.assert(
      fc.property(value, (any) => {
        expect(decodeJson(encodeJson([long, any]))).toEqual([long, any])
      }),
    )
  })

  it('leaves fractions and texts of many digits as they are', () => {
    const text = '[0.12345678901234567890, 1e21, 9007199254740991, "12345678901234567890", {"12345678901234567890": 1}]'

    expect(decodeJson(text)).toEqual(JSON.parse(text))
  })

  it('is refused as data that is not text yet', () => {
    expect(thrown(() => toJsonValue([long])).message).toBe(
      `\`[0]\` is ${long}n, beyond the 2^53 that JSON keeps exactly; send it as text`,
    )
  })
})

describe('text as JSON', () => {
  it('has null where Python writes what is no number, and leaves texts alone', () => {
    expect(decodeJson('[NaN, -Infinity, {"Infinity": Infinity}, "NaN \\" Infinity"]')).toEqual([
      null,
      null,
      { Infinity: null },
      'NaN " Infinity',
    ])
  })

  it.each([
    ['datetime', '"2030-01-02T03:04:05.678901"', new Date('2030-01-02T03:04:05.678Z')],
    ['datetime', '"2030-01-02T03:04:05+05:30"', new Date('2030-01-01T21:34:05Z')],
    ['date', '"2030-01-02"', '2030-01-02'],
    ['time', '"03:04:05"', '03:04:05'],
    ['decimal', '"1.50"', '1.50'],
    ['uuid', '{"hex": "00112233445566778899aabbccddeeff", "version": 4}', '00112233-4455-6677-8899-aabbccddeeff'],
    ['bytes', '"ä"', new Uint8Array([195, 164])],
    ['base64', '"/wA="', new Uint8Array([255, 0])],
  ])('has typed values of Python: %s', (type, inner, value) => {
    expect(decodeJson(`[{"__type__": "${type}", "__value__": ${inner}}]`)).toEqual([value])
  })

  it('of an unknown type is refused', () => {
    expect(thrown(() => decodeJson('{"__type__": "money", "__value__": 1}')).message).toBe(
      "a typed value of the unknown type 'money'",
    )
  })

  it('that is none is refused', () => {
    expect(thrown(() => decodeJson('{')).code).toBe('PAYLOAD_INVALID')
    expect(thrown(() => decodeJson('[NaN')).message).toMatch(/^not JSON: /)
    expect(thrown(() => decodeJson('[12345678901234567890')).message).toMatch(/^not JSON: /)
  })
})
