import { describe, expect, it } from 'vitest'
import type { Entry } from '../../examples/warehouse/logbook.ts'
import { bottleneck, Progress, render, type StageView } from '../../examples/warehouse/progress.ts'
import { Tally } from '../../examples/warehouse/tally.ts'

const idle: StageView = {
  queue: 'picking',
  ready: 0,
  delayed: 0,
  running: 0,
  done: 10,
  perSecond: 0,
  failures: 0,
  retries: 0,
  dead: 0,
}
const busy: StageView = {
  ...idle,
  queue: 'delivering',
  ready: 4,
  delayed: 1,
  running: 2,
  done: 3,
  perSecond: 2,
  failures: 1,
}

function screen(isTTY: boolean, columns = 200) {
  const written: string[] = []
  return { isTTY, columns, written, write: (text: string) => written.push(text) }
}

describe('the bottleneck', () => {
  it('is the stage whose backlog takes longest to clear, not the longest one', () => {
    const quick = { ...busy, queue: 'packing', ready: 20, perSecond: 50 }

    expect(bottleneck([idle, quick, busy])).toEqual({ queue: 'delivering', clearSeconds: 2.5 })
  })

  it('is nowhere while nothing waits', () => {
    expect(bottleneck([idle, { ...idle, running: 3 }])).toBeUndefined()
  })
})

describe('progress', () => {
  it('shows each stage with its depth, its rate and its troubles', () => {
    const lines = render([idle, busy], 10)

    expect(lines).toEqual([
      '  stage                       done waiting running     /s failed retries   dead',
      '  picking    ██████████████     10       0       0    0.0      0       0      0',
      '▶ delivering ████▒▒▒▒▒▒▒▒▒▒      3       5       2    2.0      1       0      0',
      '▶ the bottleneck is delivering: 2.5 s behind',
    ])
    for (const line of lines) expect(line.length).toBeLessThan(80)
  })

  it('is drawn over itself on a terminal, and never wider than it', () => {
    const terminal = screen(true, 40)
    const progress = new Progress(terminal)

    progress.show([idle, busy], 10, 0)
    progress.show([idle, busy], 10, 200)

    expect(terminal.written[1]?.startsWith('\x1b[4A\x1b[J')).toBe(true)
    for (const line of terminal.written[0]?.split('\n') ?? []) expect(line.length).toBeLessThan(40)
  })

  it('is a line now and then elsewhere, without escape codes', () => {
    const pipe = screen(false)
    const progress = new Progress(pipe)

    for (let nowMs = 0; nowMs < 4_000; nowMs += 200) progress.show([idle, busy], 10, nowMs)

    expect(pipe.written).toHaveLength(2)
    expect(pipe.written[0]).toBe(
      'picking: 10 done, 0 waiting, 0 running, 0.0/s | delivering: 3 done, 5 waiting, 2 running, 2.0/s, 1 failed (bottleneck)\n',
    )
  })

  it('lets a message stand above the bars', () => {
    const terminal = screen(true)
    const progress = new Progress(terminal)

    progress.show([idle], 10, 0)
    progress.say('a worker ended')
    progress.show([idle], 10, 200)

    expect(terminal.written[1]).toBe('\x1b[3A\x1b[Ja worker ended\n')
    expect(terminal.written[2]?.startsWith('  stage')).toBe(true)
  })
})

describe('the tally', () => {
  const about = { run: 'r', task: 'pick', orderId: 'O-1' }
  const ended = (at: number, error: string | null): Entry => ({
    what: 'ended',
    ...about,
    at,
    runMs: 1,
    together: 1,
    error,
  })

  it('counts runs that went well, that failed, and that were retries', () => {
    const tally = new Tally()

    tally.add([{ what: 'began', ...about, at: 1, retries: 0 }, ended(2, 'AisleBusy')])
    tally.add([{ what: 'began', ...about, at: 3, retries: 1 }, ended(4, null)])

    expect(tally.of('pick')).toEqual({ done: 1, failures: 1, retries: 1 })
    expect(tally.of('pack')).toEqual({ done: 0, failures: 0, retries: 0 })
  })

  it('takes the rate over the last seconds', () => {
    const tally = new Tally()

    tally.add([ended(1_000, null), ended(9_000, null), ended(9_500, null), ended(10_000, null)])

    expect(tally.perSecond('pick', 10_000)).toBe(1)
    expect(tally.perSecond('pick', 60_000)).toBe(0)
  })
})
