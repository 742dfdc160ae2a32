import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { QueueInfo } from '../../src/broker/broker.ts'
import type { Paint } from '../../src/cli/terminal.ts'
import { clip, pad, visible, widthOf } from '../../src/cli/text-width.ts'
import { summary } from '../../src/cli/top.ts'
import { frame } from '../../src/cli/top-frame.ts'
import { type Key, press } from '../../src/cli/top-keys.ts'
import { firstView, type TopSnapshot, type TopView } from '../../src/cli/top-view.ts'
import { FleetState } from '../../src/events/state.ts'
import { ManualClock } from '../../src/testing/manual-clock.ts'

const plain: Paint = (_colour, text) => text
const colourful: Paint = (_colour, text) => `\u001b[31m${text}\u001b[39m`

/** At this moment, with so many of everything, named with these letters. */
function snapshotOf(many: number, name = 'pick'): TopSnapshot {
  const clock = new ManualClock()
  const fleet = new FleetState({ clock })
  for (let n = 0; n < many; n++) {
    const worker = { hostname: `w${n}-${name}@host`, pid: n, clock: n, timestamp: 1_000 }
    fleet.apply({
      ...worker,
      type: 'worker-heartbeat',
      freq: 2,
      active: n,
      processed: 10 * n,
      loadavg: [0.5, 0.4, 0.3],
    })
    const task = { ...worker, uuid: `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` }
    fleet.apply({ ...task, type: 'task-received', name: `shop.${name}`, args: `('${name}',)`, kwargs: '{}' })
    fleet.apply({ ...task, type: 'task-failed', timestamp: 1_001, exception: `ValueError('${name}')` })
  }
  const queues = Array.from(
    { length: many },
    (_, n): QueueInfo => ({
      queue: `${name}-${n}`,
      ready: n,
      delayed: 0,
      inFlight: 1,
      consumers: 1,
      paused: n === 1,
      oldestMs: n * 61_000,
    }),
  )
  return {
    at: clock.now() + 2_000,
    broker: 'sqlite://tasks.db',
    workers: fleet.workers(),
    queues,
    tasks: fleet.tasks(),
    totals: fleet.totals,
    rates: fleet.rates,
  }
}

const taskIds = (snapshot: TopSnapshot): string[] => snapshot.tasks.map(({ uuid }) => uuid)

describe('the screen of top', () => {
  it('has workers, queues, tasks and the keys at 80 by 24', () => {
    const lines = frame(snapshotOf(2), firstView, { columns: 80, rows: 24 }, plain)

    expect(lines).toHaveLength(24)
    expect(lines[0]).toMatch(/^celeriac top {2}sqlite:\/\/tasks\.db +\d\d:\d\d:\d\d$/)
    expect(lines.slice(1, 16)).toEqual([
      'workers 2 of 2   running 1   ready 1',
      'received 2 (2/s)  succeeded 0 (0/s)  failed 2 (2/s)  retried 0 (0/s)',
      '',
      expect.stringMatching(/^ {2}WORKER \(2\) +STATUS +ACTIVE +DONE +FAILED +RETRIED +LOAD +HEARD +SOFTWARE$/),
      expect.stringMatching(/^ {2}w0-pick@host +online +0 +0 +1 +0 +0\.50/),
      expect.stringMatching(/^ {2}w1-pick@host +online +1 +10 +1 +0 +0\.50/),
      '',
      expect.stringMatching(/^ {2}QUEUE \(2\) +READY +DELAYED +RUNNING +WORKERS +OLDEST$/),
      expect.stringMatching(/^ {2}pick-0 +0 +0 +1 +1 +0 s$/),
      expect.stringMatching(/^ {2}pick-1 +1 +0 +1 +1 +1 min 1 s +paused$/),
      '',
      expect.stringMatching(/^ {2}TASK \(2\) +ID +STATE +TIME +WORKER +WHAT$/),
      expect.stringMatching(/^> shop\.pick +00000000.*FAILURE.*ValueErr/),
      expect.stringMatching(/^ {2}shop\.pick +00000000.*FAILURE/),
      '',
    ])
    expect(lines.at(-1)).toBe('q quit  ↑↓ select  tab pane  p pause  e enable events  r revoke  t terminate')
  })

  it('shows whole ids, and more of what tasks say, at 120 by 40', () => {
    const lines = frame(snapshotOf(2), firstView, { columns: 120, rows: 40 }, plain)

    expect(lines).toHaveLength(40)
    expect(lines.join('\n')).toMatch(/00000000-0000-4000-8000-000000000001 .*w1-pick@host +ValueError\('pick'\)/)
  })

  it.each([
    [80, 24],
    [120, 40],
    [40, 10],
    [20, 5],
    [7, 3],
    [200, 14],
  ])('is never wider or higher than %i by %i, whatever others are called', (columns, rows) => {
    const name = fc.oneof(fc.string(), fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary', maxLength: 60 }))
    const view = fc.record({
      pane: fc.constantFrom('workers' as const, 'queues' as const, 'tasks' as const),
      isPaused: fc.boolean(),
      selected: fc.constant({}),
      message: name.map((text) => ({ text, isError: true })),
    })

    fc.assert(
      fc.property(name, fc.nat(30), view, (text, many, shown) => {
        const lines = frame(snapshotOf(many, text), shown, { columns, rows }, colourful)
        expect(lines).toHaveLength(rows)
        for (const line of lines) {
          const bare = stripVTControlCharacters(line)
          expect(bare).not.toMatch(/\p{Cc}/u)
          expect(widthOf(bare), JSON.stringify(bare)).toBeLessThanOrEqual(columns)
        }
      }),
      { numRuns: 40 },
    )
  })

  it('lines up the columns of names in wide letters', () => {
    const lines = frame(snapshotOf(2, '包装する🙂'), firstView, { columns: 120, rows: 40 }, plain)

    const states = lines.filter((line) => line.includes('FAILURE'))
    expect(states).toHaveLength(2)
    expect(new Set(states.map((line) => widthOf(line.slice(0, line.indexOf('FAILURE'))))).size).toBe(1)
  })

  it('keeps the selected line in sight', () => {
    const snapshot = snapshotOf(50)
    const selected = taskIds(snapshot)[40] as string

    const lines = frame(snapshot, { ...firstView, selected: { tasks: selected } }, { columns: 120, rows: 24 }, plain)

    expect(lines.filter((line) => line.startsWith('> '))).toEqual([expect.stringContaining(selected)])
  })

  it('shows one pane alone where there is no room for three', () => {
    const lines = frame(snapshotOf(3), { ...firstView, pane: 'queues' }, { columns: 80, rows: 10 }, plain)

    expect(lines.join('\n')).toMatch(/QUEUE \(3\)/)
    expect(lines.join('\n')).not.toMatch(/WORKER \(|TASK \(/)
  })

  it('says what is missing, and how to have it', () => {
    const lines = frame(snapshotOf(0), firstView, { columns: 80, rows: 24 }, plain).join('\n')

    expect(lines).toContain('no worker was heard of yet')
    expect(lines).toContain('there are no queues yet')
    expect(lines).toContain('no task was heard of yet; e asks the workers to report them')
  })

  it('is as long as it needs to be where no terminal is, with nothing selected', () => {
    const lines = frame(snapshotOf(40), firstView, { columns: 120, rows: Number.POSITIVE_INFINITY }, plain)

    expect(lines.filter((line) => line.includes('FAILURE'))).toHaveLength(40)
    expect(lines.filter((line) => line.startsWith('>') || line.startsWith('q quit'))).toEqual([])
  })
})

describe('the keys of top', () => {
  const snapshot = snapshotOf(3)
  const [first = '', second = '', third = ''] = taskIds(snapshot)

  function pressed(keys: readonly (string | Key)[], view: TopView = firstView) {
    let last: ReturnType<typeof press> = { view }
    for (const key of keys) last = press(last.view, snapshot, typeof key === 'string' ? { name: key } : key)
    return last
  }

  it.each([
    [['down'], second],
    [['j', 'j'], third],
    [['j', 'j', 'j', 'j', 'k'], second],
    [['end'], third],
    [['end', 'home'], first],
    [['pagedown', 'up'], second],
  ])('%j select', (keys, selected) => {
    expect(pressed(keys).view.selected.tasks).toBe(selected)
  })

  it('tab goes round the panes, with shift the other way', () => {
    expect(pressed(['tab']).view.pane).toBe('workers')
    expect(pressed(['tab', 'tab', 'tab']).view.pane).toBe('tasks')
    expect(pressed([{ name: 'tab', shift: true }]).view.pane).toBe('queues')
  })

  it('the selection stays with its task when others come before it', () => {
    const { view } = pressed(['j'])
    const later = { ...snapshot, tasks: [...snapshot.tasks].reverse() }

    expect(press(view, later, { name: 'k' }).view.selected.tasks).toBe(third)
    expect(press(pressed(['home']).view, later, { name: 'r' }).view.question?.command).toEqual({
      do: 'revoke',
      id: first,
    })
  })

  it.each([
    ['r', 'revoke'],
    ['t', 'terminate'],
  ])('%s asks first, and y does it', (key, verb) => {
    const asked = pressed(['j', key])
    const confirmed = pressed(['y'], asked.view)

    expect(asked.command).toBeUndefined()
    expect(asked.view.question?.text).toBe(`${verb} shop.pick ${second} (FAILURE)? y/n`)
    expect(confirmed.command).toEqual({ do: verb, id: second })
    expect(confirmed.view.question).toBeUndefined()
  })

  it.each(['n', 'escape', 'return', 'q', 'r'])('%s instead of y does nothing', (key) => {
    const { view, command } = pressed(['r', key])

    expect(command).toBeUndefined()
    expect(view).toMatchObject({ message: { text: 'nothing was done' } })
    expect(view.question).toBeUndefined()
  })

  it('there is nothing to revoke where there is no task', () => {
    const { view } = press(firstView, snapshotOf(0), { name: 'r' })

    expect(view).toMatchObject({ message: { text: 'no task is selected', isError: true } })
  })

  it('q and Ctrl-C end it, also while something is asked', () => {
    const ctrlC = { name: 'c', ctrl: true }

    expect(pressed(['q']).command).toEqual({ do: 'quit' })
    expect(pressed([ctrlC]).command).toEqual({ do: 'quit' })
    expect(pressed(['t', ctrlC]).command).toEqual({ do: 'quit' })
  })

  it('p pauses and goes on, e enables events, others do nothing', () => {
    expect([pressed(['p']).view.isPaused, pressed(['p', 'p']).view.isPaused]).toEqual([true, false])
    expect(pressed(['e']).command).toEqual({ do: 'enable events' })
    expect(pressed(['x', {}])).toEqual({ view: firstView })
  })
})

describe('what the workers said to a key', () => {
  it('is one line, once where they agree', () => {
    const ok = { ok: 'task events enabled' }

    expect(summary({ 'a@h': ok, 'b@h': ok })).toEqual({ text: '2 workers: task events enabled', isError: false })
    expect(summary({ 'a@h': ok, 'b@h': { error: 'no' } })).toEqual({
      text: 'a@h: task events enabled; b@h: no',
      isError: true,
    })
    expect(summary({})).toEqual({ text: 'no worker answered', isError: true })
  })
})

describe('text on a terminal', () => {
  it.each([
    ['pick', 4],
    ['bücher', 6],
    ['bu\u0308cher', 6],
    ['包装する', 8],
    ['🙂', 2],
    ['👩‍👩‍👧', 2],
    ['🇩🇪', 2],
    ['ﾊﾝ', 2],
    ['', 0],
  ])('%s takes %i columns', (text, width) => {
    expect(widthOf(text)).toBe(width)
  })

  it('is cut and filled to columns, not to letters', () => {
    expect([clip('包装する', 5), clip('包装する', 8), pad('包装', 6), pad('7', 3, 'right')]).toEqual([
      '包装…',
      '包装する',
      '包装  ',
      '  7',
    ])
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(12), (text, columns) => {
        expect(widthOf(clip(text, columns))).toBeLessThanOrEqual(columns)
        expect(widthOf(pad(text, columns))).toBe(columns)
      }),
    )
  })

  it('of others cannot move the cursor or turn the line round', () => {
    expect(visible('a\u001b[2Jb\u202ec\nd\te')).toBe('a�[2Jb�c d e')
  })
})
