import { ManualClock } from 'celeriac/testing'
import { describe, expect, it } from 'vitest'
import { healthOf } from '../../src/monitor/http/health.ts'
import { Redaction } from '../../src/monitor/redaction.ts'

/** A monitor of which only this is known. */
function partsOf(clock: ManualClock, about: { lookedAgoMs: number; losesEvents?: boolean; heardAgoMs?: number }) {
  const nowMs = clock.now()
  const { heardAgoMs } = about
  const worker = { freq: 2, answeredAt: nowMs, heardAt: nowMs - (heardAgoMs ?? 0) }
  const collector = {
    queues: { lookedAtMs: nowMs - about.lookedAgoMs },
    workers: { all: () => (heardAgoMs === undefined ? [] : [worker]) },
    losesEvents: about.losesEvents ?? false,
    troubles: ['queues: cannot reach redis://ada:hunter2@db'],
  }
  return { collector, clock, redaction: new Redaction({ names: [], tasks: [] }) } as never
}

describe('the health of a monitor', () => {
  const clock = new ManualClock()

  it('is good while the broker answers, also where nothing runs', () => {
    expect(healthOf(partsOf(clock, { lookedAgoMs: 2_000 }), 0)).toEqual({ ok: true, problems: [] })
    expect(healthOf(partsOf(clock, { lookedAgoMs: 2_000, heardAgoMs: 2_000 }), 0).ok).toBe(true)
  })

  it('is bad while the broker does not answer, and says why, without secrets', () => {
    const { ok, problems } = healthOf(partsOf(clock, { lookedAgoMs: 30_000 }), 0)

    expect(ok).toBe(false)
    expect(problems).toEqual(['the broker has not answered for 30 s', 'queues: cannot reach redis://ada:***@db'])
  })

  it('is bad while events cannot be stored, or do not come in', () => {
    expect(healthOf(partsOf(clock, { lookedAgoMs: 0, losesEvents: true }), 0).problems).toEqual([
      'events cannot be stored; is the disk full?',
    ])
    expect(healthOf(partsOf(clock, { lookedAgoMs: 0, heardAgoMs: 120_000 }), 0).problems).toEqual([
      'workers answer, but none of their events comes in',
    ])
  })
})
