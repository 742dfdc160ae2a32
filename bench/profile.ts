/** `--profile`: Celeriac's drain under Node's CPU profiler, for whoever tunes it. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { runChild } from './harness/processes.ts'
import { profileReport } from './report/cpu-profile.ts'
import { type Bench, size, withStore } from './scenarios/bench.ts'
import type { Setting } from './sides/side.ts'
import { traits } from './sides/traits.ts'

/** Drains once, plainly and under the profiler (which slows it), and answers what there is to read. */
export async function profileDrain(bench: Bench): Promise<string> {
  const count = size(bench, 100_000, 20_000)
  const [setting] = [...traits.celeriac.settings].reverse() as [Setting]
  const profiles = join(bench.directory, 'profiles')
  await rm(profiles, { recursive: true, force: true })
  await mkdir(profiles, { recursive: true })
  const side = 'celeriac'
  const report: string[] = []
  for (const execArgv of [[], ['--cpu-prof', '--cpu-prof-interval', '250', '--cpu-prof-dir', profiles]]) {
    await withStore(bench, side, async (store) => {
      await runChild({ role: 'fill', side, store, params: { count } })
      const { perSecond, cpuUsPerTask } = await runChild(
        { role: 'drain', side, store, params: { count, setting } },
        { execArgv },
      )
      const how = execArgv.length === 0 ? 'plain' : 'profiled'
      report.push(`${how}: ${Math.round(perSecond)} tasks/s, ${cpuUsPerTask.toFixed(1)} µs of CPU per task`)
    })
  }
  for (const file of (await readdir(profiles)).sort()) {
    const text = profileReport(await readFile(join(profiles, file), 'utf8'), 40)
    report.push('', `== ${file} ==`, text)
  }
  return report.join('\n')
}
