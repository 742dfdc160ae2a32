import { expect, it } from 'vitest'
import { aboutChords } from '../../src/cli/doctor-chords.ts'

const join = {
  groupId: 'g',
  joined: 1,
  size: 2,
  failed: undefined,
  bodyId: 'b',
  reason: 'r',
  isStuck: false,
  waitsFor: [],
}

it('the doctor tells of chords that wait for ever, and counts those under way', () => {
  const findings = aboutChords([join, join, { ...join, isStuck: true }, { ...join, failed: 'm' }])

  expect(findings).toMatchObject([
    { level: 'ok', about: 'chords', message: '2 chords under way' },
    {
      level: 'warn',
      about: 'chords',
      message: 'one waits for ever: r',
      advice: expect.stringContaining('result b --why'),
    },
  ])
  expect(aboutChords([])).toEqual([])
})
