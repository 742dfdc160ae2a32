import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { toEntrySpec } from '../../src/beat/entry.ts'
import { readEntries, readScheduleFile } from '../../src/beat/schedule-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'celeriac-schedule-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('Celery’s beat_schedule', () => {
  it('is taken as JSON, with its time zone and its names of options', () => {
    const entries = readEntries(
      {
        timezone: 'Europe/Berlin',
        beat_schedule: {
          add: { task: 'tasks.add', schedule: 30.0, args: [16, 16] },
          monday: {
            task: 'tasks.report',
            schedule: { crontab: { hour: 7, minute: 30, day_of_week: 1 } },
            options: { queue: 'reports', expires: 60, soft_time_limit: 10, ignore_result: true },
            relative: false,
          },
          sunset: { task: 'tasks.lights', schedule: { solar: { event: 'sunset', lat: -37.8, lon: 144.9 } } },
        },
      },
      'settings.json',
    )
    const specs = Object.entries(entries).map(([name, entry]) => toEntrySpec(name, entry, 'UTC'))

    expect(specs.map(({ schedule }) => schedule)).toEqual([
      { everyMs: 30_000 },
      {
        crontab: { minute: 30, hour: 7, dayOfWeek: 1, dayOfMonth: '*', monthOfYear: '*' },
        timezone: 'Europe/Berlin',
      },
      { solar: { event: 'sunset', lat: -37.8, lon: 144.9 } },
    ])
    expect(specs[0]).toMatchObject({ task: 'tasks.add', args: [16, 16], catchUp: 'one' })
    expect(specs[1]?.options).toEqual({ queue: 'reports', expires: 60, softTimeLimit: 10, ignoreResult: true })
  })

  it.each([
    [{ schedule: '<crontab: 0 7 * * 1 (m/h/dM/MY/d)>' }, /Python object <crontab.*write seconds/],
    [{ relative: true }, /`relative`.*give it a crontab/],
    [{ options: { routing_key: 'x' } }, /`routing_key`.*name the queue in `queue`/],
    [{ shedule: 1 }, /unknown option `shedule` in entry 'a' of file.json; did you mean `schedule`/],
  ])('says what it cannot take: %j', (wrong, message) => {
    expect(() => readEntries({ a: { task: 't', schedule: 1, ...wrong } }, 'file.json')).toThrow(message)
  })
})

describe('a file', () => {
  it('may be YAML, with the forms of our own', async () => {
    const path = join(folder, 'schedule.yaml')
    writeFileSync(path, 'tidy:\n  task: tidy\n  schedule: 0 3 * * mon-fri\n  catchUp: skip\n  jitter: 5m\n')

    expect(await readScheduleFile(path)).toEqual({
      tidy: { task: 'tidy', schedule: '0 3 * * mon-fri', catchUp: 'skip', jitter: '5m' },
    })
  })

  it('is named where it cannot be read', async () => {
    const path = join(folder, 'broken.json')
    writeFileSync(path, '{')

    await expect(readScheduleFile(path)).rejects.toThrow(/the schedule .*broken\.json cannot be read/)
  })
})
