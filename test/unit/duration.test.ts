import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Duration, type Size, toBytes, toMs } from '../../src/duration.ts'
import { thrown } from '../flow/fixture.ts'

describe('a duration', () => {
  it.each([
    [0, 0],
    [1.5, 1_500],
    ['500ms', 500],
    ['30s', 30_000],
    ['0.5s', 500],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    [' 5m ' as '5m', 300_000],
  ] as [Duration, number][])('%j is %d ms', (duration, ms) => {
    expect(toMs(duration, 'countdown')).toBe(ms)
  })

  it.each([-1, Number.NaN, '', '5', 's', '5 m', '-5m', '5M', '5min', '1e3s', '1.s', null, undefined, {}])(
    '%j is none, which names the option and what it takes',
    (duration) => {
      const error = thrown(() => toMs(duration as Duration, 'countdown'))

      expect(error.code).toBe('CONFIG_INVALID')
      expect(error.message).toMatch(/^`countdown` must be a number of seconds or a text such as '500ms', .*, got /)
    },
  )

  it('as text is a number of its unit', () => {
    const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
    const unit = fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[]))

    fc.assert(fc.property(fc.nat(), unit, (n, u) => toMs(`${n}${u}`, 'x') === n * units[u]))
  })
})

describe('a size', () => {
  it.each([
    [1_000, 1_000],
    ['10B', 10],
    ['64KB', 65_536],
    ['1.5KB', 1_536],
    ['200MB', 209_715_200],
    ['1GB', 1_073_741_824],
  ] as [Size, number][])('%j is %d bytes', (size, bytes) => {
    expect(toBytes(size, 'maxMessageSize')).toBe(bytes)
  })

  it.each([-1, '1 MB', '1mb', 'MB', '', null])('%j is none', (size) => {
    expect(thrown(() => toBytes(size as Size, 'maxMessageSize')).message).toMatch(
      /^`maxMessageSize` must be a number of bytes or a text such as '64KB' or '200MB', got /,
    )
  })
})
