import { describe, expect, it } from 'vitest'
import { parseFlags, UsageError } from '../../examples/warehouse/flags.ts'

describe('the flags', () => {
  it('are read with their defaults', () => {
    expect(parseFlags([])).toMatchObject({
      once: false,
      orders: 300,
      seed: 1,
      courierFailure: 0.2,
      workers: 1,
      port: 0,
    })
    expect(parseFlags(['--once', '--kill', '--json'])).toMatchObject({
      once: true,
      kill: true,
      json: true,
      orders: 500,
    })
  })

  it('are read in both ways of writing a value', () => {
    expect(parseFlags(['--orders', '20', '--courier-failure=0.5'])).toMatchObject({ orders: 20, courierFailure: 0.5 })
  })

  it.each([
    [['--order', '5'], 'unknown flag --order; did you mean --orders?'],
    [['--courier-fail=1'], 'unknown flag --courier-fail; did you mean --courier-failure?'],
    [['--dashboard'], 'unknown flag --dashboard; see --help'],
    [['once'], "unexpected 'once'; flags begin with --"],
    [['--orders'], '--orders needs a value'],
    [['--orders', 'many'], "--orders must be a whole number of at least 1, got 'many'"],
    [['--orders', '0'], "--orders must be a whole number of at least 1, got '0'"],
    [['--courier-failure', '2'], "--courier-failure must be a number from 0 to 1, got '2'"],
    [['--port', '99999'], "--port must be a whole number from 0 to 65535, got '99999'"],
    [['--once=yes'], "--once takes no value, got 'yes'"],
  ])('%j is answered with what is right', (args, message) => {
    expect(() => parseFlags(args)).toThrow(new UsageError(message))
  })
})
