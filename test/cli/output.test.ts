import { describe, expect, it } from 'vitest'
import type { QueueInfo } from '../../src/broker/broker.ts'
import { aboutQueues } from '../../src/cli/doctor.ts'
import { aboutClock } from '../../src/cli/doctor-redis.ts'
import { prettyLine } from '../../src/cli/logging.ts'
import { type Column, table, wrap } from '../../src/cli/output.ts'
import type { Paint } from '../../src/cli/terminal.ts'
import { drawTree } from '../../src/cli/tree.ts'
import { autoscale, duration, httpAddress, jsonArray, logLevel, rate } from '../../src/cli/values.ts'
import { nodeName } from '../../src/cli/worker.ts'
import { shortTime } from '../../src/duration.ts'
import { type Metric, prometheusText } from '../../src/prometheus.ts'
import type { ResultNode } from '../../src/result/tree.ts'
import { userFrames } from '../../src/stack.ts'

const plain: Paint = (_colour, text) => text

describe('a table', () => {
  const columns: Column<{ name: string; count: number; why: string }>[] = [
    { title: 'NAME', of: ({ name }) => name },
    { title: 'COUNT', of: ({ count }) => String(count), align: 'right' },
    { title: 'WHY', of: ({ why }) => why },
  ]

  it('lines its columns up, and cuts the last one at the edge of the terminal', () => {
    const rows = [
      { name: 'picking', count: 7, why: 'out of stock:\n  all of it' },
      { name: 'x', count: 12_345, why: 'short' },
    ]

    expect(table(rows, columns, 30, plain).split('\n')).toEqual([
      'NAME     COUNT  WHY',
      'picking      7  out of stock:…',
      'x        12345  short',
    ])
  })

  it('cuts nothing where no terminal is', () => {
    const why = 'w'.repeat(300)

    expect(table([{ name: 'x', count: 1, why }], columns, Number.POSITIVE_INFINITY, plain)).toContain(why)
  })
})

describe('a time', () => {
  it.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [1_250, '1.25 s'],
    [42_120, '42.1 s'],
    [250_000, '4 min 10 s'],
    [12_000_000, '3 h 20 min'],
    [187_200_000, '2 d 4 h'],
    [86_400_000, '1 d'],
  ])('of %i ms is said as %s', (ms, text) => {
    expect(shortTime(ms)).toBe(text)
  })
})

describe('wrapped text', () => {
  it('ends at the width and is indented from the second line on', () => {
    expect(wrap('one two three four', 14, 4)).toBe('one two\n    three four')
  })
})

describe('a log line for people', () => {
  const at = new Date(2026, 0, 1, 12, 0, 0)

  it('says what happened to which task in one line', () => {
    const fields = { worker: 'w1', queue: 'q', task: 'add', taskId: 'id-1', runMs: 12 }

    expect(prettyLine('info', fields, 'succeeded', at, plain)).toBe('12:00:00 info  add succeeded in 12 ms  id-1\n')
  })

  it('shows where an error came from, causes too', () => {
    const error = new TypeError('broken', { cause: new RangeError('deeper') })

    const lines = prettyLine('error', { error }, 'gave up', at, plain)

    expect(lines).toMatch(/^12:00:00 error gave up {2}TypeError: broken\n {4}at /)
    expect(lines).toContain('    caused by RangeError: deeper\n')
  })
})

describe('frames of a stack', () => {
  it("are the user's own", () => {
    const own = '    at pick (/srv/app.ts:3:4)'
    const stack = `Error: x\n${own}\n    at run (/srv/node_modules/celeriac/dist/app.js:1:1)\n    at node:internal/x:1:1`

    expect(userFrames(stack)).toEqual(['at pick (/srv/app.ts:3:4)'])
  })

  it('are all there are when none is', () => {
    expect(userFrames('Error: x\n    at run (node:internal/x:1:1)')).toEqual(['at run (node:internal/x:1:1)'])
  })
})

describe('a pipeline', () => {
  const node = (
    name: string,
    state: string,
    children: ResultNode[] = [],
    error: ResultNode['error'] = null,
  ): ResultNode => ({
    taskId: `id-of-${name}`,
    name,
    queue: null,
    state,
    retries: 0,
    attempts: 1,
    worker: null,
    sentAt: 1_000,
    startedAt: 1_005,
    doneAt: 1_025,
    result: null,
    error,
    children,
  })

  it('is drawn as a tree, with the error and a mark at the task that was asked for', () => {
    const failed = node('deliver', 'FAILURE', [], { type: 'CourierError', message: '503\nbusy' })
    const root = node('start', 'SUCCESS', [node('pick', 'SUCCESS', [failed]), node('note', 'SUCCESS')])

    expect(drawTree(root, { paint: plain, width: 80, marked: 'id-of-deliver' }).split('\n')).toEqual([
      'start          SUCCESS  ran 20 ms, waited 5 ms',
      '│  id-of-start',
      '├─ pick        SUCCESS  ran 20 ms, waited 5 ms',
      '│  │  id-of-pick',
      '│  └─ deliver  FAILURE  ran 20 ms, waited 5 ms  ◀',
      '│        id-of-deliver',
      '│        CourierError: 503 busy',
      '└─ note        SUCCESS  ran 20 ms, waited 5 ms',
      '      id-of-note',
    ])
  })
})

describe('the doctor', () => {
  const queue = (name: string, fields: Partial<QueueInfo>): QueueInfo => ({
    queue: name,
    ready: 0,
    delayed: 0,
    inFlight: 0,
    paused: false,
    consumers: 1,
    oldestMs: null,
    ...fields,
  })

  it('finds nothing wrong with queues that are served', () => {
    expect(aboutQueues([queue('a', { ready: 3, oldestMs: 10 })]).map(({ level }) => level)).toEqual(['ok', 'ok'])
  })

  it('finds queues that nobody serves, that are paused or slow, and dead letters', () => {
    const findings = aboutQueues([
      queue('alone', { ready: 1, consumers: 0, oldestMs: 5 }),
      queue('held', { paused: true, ready: 2 }),
      queue('slow', { ready: 1, oldestMs: 3_600_000 }),
      queue('a.dead', { ready: 4, consumers: 0, oldestMs: 5 }),
    ])

    expect(findings.map(({ level, message }) => `${level}: ${message}`)).toEqual([
      "warn: 'alone' has 1 message and no worker",
      "warn: 'held' is paused, with 2 messages",
      "warn: 'slow': the oldest message has waited 1 h",
      "warn: 4 from 'a'",
    ])
  })

  it('compares clocks as exactly as the way to the server allows', () => {
    expect(aboutClock({ aheadMs: -900, errorMs: 1 })).toMatchObject({ level: 'ok' })
    expect(aboutClock({ aheadMs: 3_000, errorMs: 2_500 })).toMatchObject({ level: 'ok' })
    expect(aboutClock({ aheadMs: 90_000, errorMs: 1 })).toMatchObject({
      level: 'warn',
      message: "the server's clock is 1 min 30 s ahead of this machine's",
    })
  })
})

describe("Prometheus' text", () => {
  it('names each metric once, and escapes what labels say', () => {
    const metrics: Metric[] = [
      { name: 'up', type: 'gauge', help: 'Is it?', samples: [{ value: 1 }] },
      {
        name: 'runs_total',
        type: 'counter',
        help: 'Of C:\\.',
        samples: [
          { labels: { task: 'a"b\\c\nd' }, value: 2 },
          { labels: { task: 'e', pool: 'async' }, value: 0.5 },
        ],
      },
    ]

    expect(prometheusText(metrics).split('\n')).toEqual([
      '# HELP up Is it?',
      '# TYPE up gauge',
      'up 1',
      '# HELP runs_total Of C:\\\\.',
      '# TYPE runs_total counter',
      'runs_total{task="a\\"b\\\\c\\nd"} 2',
      'runs_total{task="e",pool="async"} 0.5',
      '',
    ])
  })
})

describe('what flags take', () => {
  it("knows Celery's words for levels", () => {
    expect([logLevel('INFO'), logLevel('warning'), logLevel('CRITICAL')]).toEqual(['info', 'warn', 'error'])
  })

  it('reads times as seconds unless they say otherwise', () => {
    expect([duration('30'), duration('1.5'), duration('5m')]).toEqual([30, 1.5, '5m'])
  })

  it('reads rates per second, minute and hour', () => {
    expect([rate('10/s'), rate('120/m'), rate('3600/h'), rate('2')]).toEqual([10, 2, 1, 2])
  })

  it("reads Celery's bounds of a pool in either order, or the most alone", () => {
    expect([autoscale('10,3'), autoscale('3,10'), autoscale('10')]).toEqual([
      { max: 10, min: 3 },
      { max: 10, min: 3 },
      { max: 10 },
    ])
    expect(() => autoscale('0')).toThrow('It takes the most and the least')
    expect(() => autoscale('1,2,3')).toThrow('It takes the most and the least')
  })

  it('reads a port as one of this machine, unless a host is given', () => {
    expect([httpAddress('8080'), httpAddress('0.0.0.0:0'), httpAddress('[::]:80')]).toEqual([
      { host: '127.0.0.1', port: 8080 },
      { host: '0.0.0.0', port: 0 },
      { host: '::', port: 80 },
    ])
    expect(() => httpAddress('http')).toThrow('It takes a port')
    expect(() => httpAddress('65536')).toThrow('It takes a port')
  })

  it('says what it takes', () => {
    expect(() => jsonArray('{}')).toThrow('It takes a JSON array')
    expect(() => logLevel('wran')).toThrow("Did you mean 'warn'?")
  })
})

describe('a node name', () => {
  it('has the host where it says %h, and when it says none', () => {
    expect(nodeName('w1@%h', 'box.example.com')).toBe('w1@box.example.com')
    expect(nodeName('w1', 'box')).toBe('w1@box')
    expect(nodeName('w1@%n', 'box.example.com')).toBe('w1@box')
    expect(nodeName('w1@%d', 'box.example.com')).toBe('w1@example.com')
  })
})
