import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '..', '..')

it('npm run counter: the crowd times out in part, and as tasks is answered and counted in full', {
  timeout: 90_000,
}, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'scripts', 'counter.mjs')], { cwd: root })

  const row = (name: string): number[] => {
    const line = stdout.split('\n').find((line) => line.startsWith(`${name} `)) ?? ''
    return line.slice(name.length).match(/\d+/g)?.map(Number) ?? []
  }
  const [answered = NaN, gaveUp, counted] = row('directly')
  expect(gaveUp).toBeGreaterThan(0)
  expect(answered + (gaveUp ?? NaN)).toBe(200)
  // Some are counted for customers who have left: theirs was the transaction that was under way.
  expect(counted).toBeGreaterThanOrEqual(answered)
  expect(counted).toBeLessThan(200)
  expect(row('by a task').slice(0, 3)).toEqual([200, 0, 200])
})
