import { PassThrough } from 'node:stream'
import type { WriteStream } from 'node:tty'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Broker, QueueInfo } from '../../src/broker/broker.ts'
import { planOf, refusePaused } from '../../src/cli/migrate-plan.ts'
import { bar, progressOn } from '../../src/cli/migrate-progress.ts'
import { isThrough, tellSummary } from '../../src/cli/migrate-report.ts'
import type { Paint } from '../../src/cli/terminal.ts'
import { memoryCapabilities } from '../../src/drivers/memory/index.ts'
import { rejection, thrown } from '../flow/fixture.ts'

const plain: Paint = (_colour, text) => text

afterEach(() => {
  vi.restoreAllMocks()
})

describe('the bar of a migration', () => {
  const stand = { queue: 'picking', moved: 12_000, total: 24_000, elapsedMs: 1_500 }

  it('says how far it is, how fast, and how long it will take', () => {
    expect(bar(stand, 79, plain)).toBe(
      `picking  ${'━'.repeat(12)}${'─'.repeat(12)}   50 %  12,000 of 24,000  8,000/s  2 s left`,
    )
  })

  it.each([79, 60, 40, 20])('fits into %i columns, whatever the numbers', (width) => {
    const huge = { queue: 'q'.repeat(200), moved: 999_999_999, total: 9_999_999_999, elapsedMs: 1 }

    // A narrower terminal than the bar itself gets the bar alone.
    expect(bar(huge, width, plain).length).toBeLessThanOrEqual(Math.max(width, 50))
  })

  it('is full for a queue that turned out to be empty', () => {
    expect(bar({ queue: 'q', moved: 0, total: 0, elapsedMs: 0 }, 79, plain)).toContain('100 %')
  })

  it('is drawn over itself on a terminal, and wiped off at the end', () => {
    vi.spyOn(performance, 'now').mockReturnValueOnce(0).mockReturnValueOnce(200).mockReturnValue(200)
    const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 80 })
    const progress = progressOn(stream as unknown as WriteStream, false)

    progress.begin('q', 10)
    progress.update(5)
    progress.end()

    const wipe = '\r\u001b[K'
    const [before, drawn, after] = String(stream.read()).split(wipe)
    expect([before, after]).toEqual(['', ''])
    expect(drawn).toContain('50 %')
  })

  it('is a line now and then where no terminal is, and nothing for programs', () => {
    vi.spyOn(performance, 'now')
      .mockReturnValueOnce(0)
      .mockReturnValueOnce(6_000)
      .mockReturnValueOnce(0)
      .mockReturnValue(6_000)
    const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const stream = new PassThrough() as unknown as WriteStream

    for (const isSilent of [false, true]) {
      const progress = progressOn(stream, isSilent)
      progress.begin('q', 10_000)
      progress.update(1_234)
    }

    expect(said.mock.calls).toEqual([['q: 1,234 of 10,000 moved\n']])
  })
})

describe('the plan of a migration', () => {
  it('leaves out the queues of the machinery', async () => {
    const names = [
      'celery',
      'celery.dead',
      'celeriac.migration',
      'w1@host.celery.pidbox',
      'celeryev.5f',
      'celery_delayed_27',
    ]
    const reply = '7b1e9a43-3f1c-4a52-9a52-0d8a4bd8a0c1'

    expect((await planOf(brokerWith([...names, reply]), undefined)).map(({ queue }) => queue)).toEqual([
      'celery',
      'celery.dead',
    ])
  })

  it('takes the dead letters along with their queue', async () => {
    const plan = await planOf(brokerWith(['packing', 'picking', 'picking.dead']), ['picking'])

    expect(plan.map(({ queue }) => queue)).toEqual(['picking', 'picking.dead'])
  })

  it('knows no queue that does not exist, and guesses which one was meant', async () => {
    const error = await rejection(planOf(brokerWith(['picking']), ['pickin']))

    expect(error.message).toBe("the source has no queue 'pickin'; did you mean 'picking'?")
  })

  it('asks for names where the source cannot tell them', async () => {
    const error = await rejection(planOf(brokerWith([], 'connection'), undefined))

    expect(error.message).toContain('--queue')
  })

  it('refuses a paused queue that has messages', () => {
    const error = thrown(() => refusePaused([{ ...info('q'), paused: true }]))

    expect(error.message).toContain("'q' is paused at the source")
  })
})

describe('the summary of a migration', () => {
  const report = { queue: 'q', moved: 7, delayed: 2, settled: 0, refused: [], refusedCount: 0, left: 0, running: 0 }
  const summary = { from: 'a', to: 'b', isStopped: false, tookMs: 1_250 }

  it('counts what stays at the source as not through; what runs there will be for the next time', () => {
    expect(isThrough({ ...summary, queues: [report] })).toBe(true)
    expect(isThrough({ ...summary, queues: [{ ...report, running: 3 }] })).toBe(true)
    expect(isThrough({ ...summary, queues: [{ ...report, left: 1 }] })).toBe(false)
    expect(isThrough({ ...summary, queues: [report], isStopped: true })).toBe(false)
  })

  it('tells people what stays, why, and what to do', () => {
    const said = printed()
    const refused = [{ id: 'large', reason: 'it has 70 bytes, and the target takes at most 60' }]

    tellSummary(
      { ...summary, queues: [{ ...report, refused, refusedCount: 3, left: 3, running: 2, settled: 1 }] },
      false,
    )

    expect(said()).toMatch(/^QUEUE +MOVED +DELAYED +LEFT +RUNNING\nq +7 +2 +3 +2\n/)
    expect(said()).toContain('7 messages moved to b in 1.25 s')
    expect(said()).toContain('1 message more had been moved')
    expect(said()).toContain("'q' keeps large: it has 70 bytes")
    expect(said()).toContain("'q' keeps 2 messages more")
    expect(said()).toContain('2 are running at the source')
  })

  it('is one JSON object for programs', () => {
    const said = printed()

    tellSummary({ ...summary, queues: [report] }, true)

    expect(JSON.parse(said())).toEqual({
      from: 'a',
      to: 'b',
      dryRun: false,
      complete: true,
      moved: 7,
      left: 0,
      running: 0,
      ms: 1_250,
      queues: [report],
    })
  })
})

/** What goes to stdout and stderr from here on. */
function printed(): () => string {
  let text = ''
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      text += chunk
      return true
    })
  }
  return () => text
}

function info(queue: string): QueueInfo {
  return { queue, ready: 1, delayed: 0, inFlight: 0, paused: false, consumers: 0, oldestMs: 0 }
}

/** What a plan asks of a broker. */
function brokerWith(queues: readonly string[], lease: 'timed' | 'connection' = 'timed'): Broker {
  const broker: Pick<Broker, 'capabilities' | 'queues' | 'depth'> = {
    capabilities: { ...memoryCapabilities, lease },
    queues: async () => queues.map(info),
    depth: async () => ({ ready: 0, delayed: 0, inFlight: 0 }),
  }
  return broker as Broker
}
