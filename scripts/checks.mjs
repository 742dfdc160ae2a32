/**
 * The checks of this project, each a named step, and the one way to run a list of them: a line when it starts, a line
 * with its time when it ends, and for a failure what the tool printed, what went wrong and what to do. A failed step
 * does not keep the others from running, except those that need what it makes.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { build } from './build.mjs'
import { installPackages } from './install.mjs'
import { endWithParent } from './orphan.mjs'
import { root, run, runBin, StepFailed, say, tell } from './process.mjs'
import { ensureServers } from './servers.mjs'

/** Whether this checkout has the benchmarks; without them their packages are not wanted. */
const hasBench = existsSync(join(root, 'bench', 'run.ts'))

export const install = {
  name: 'install',
  doing: 'npm packages, where package-lock.json asks for other ones than are there',
  run: async () => {
    await installPackages()
    // The benchmarks are type-checked and smoke-tested with the systems they compare with.
    if (hasBench) await installPackages('bench')
  },
}

export const format = {
  name: 'format',
  doing: 'layout and import order, with Biome',
  needs: ['install'],
  run: () =>
    tool(biome(['ci', '--linter-enabled=false', '--reporter=summary', '.']), {
      problem: 'files are not formatted',
      advice: '`npm run format` formats them.',
    }),
}

export const lint = {
  name: 'lint',
  doing: 'lint rules and import cycles, with Biome',
  needs: ['install'],
  run: () =>
    tool(biome(['lint', '--error-on-warnings', '--max-diagnostics=50', '.']), {
      problem: 'files break a lint rule',
      advice: '`npm run format` applies the safe fixes; the rest is by hand.',
    }),
}

export const imports = {
  name: 'imports',
  doing: 'import directions between the layers of src/',
  run: () =>
    tool(run(process.execPath, ['scripts/check-imports.mjs']), {
      problem: 'a file imports from a layer it may not know',
      advice: 'move the code to the layer it belongs to; the table is in scripts/check-imports.mjs.',
    }),
}

export const types = {
  name: 'types',
  doing: 'tsc over src, test, examples, bench and web',
  needs: ['install'],
  async run() {
    for (const project of ['tsconfig.json', 'web/tsconfig.json']) {
      await tool(runBin('typescript', 'tsc', ['-p', project, '--noEmit']), {
        problem: 'the types do not fit',
        advice: 'mend the errors above, the first one first.',
      })
    }
  },
}

export const compile = {
  name: 'build',
  doing: 'src/ and web/ to dist/',
  needs: ['install'],
  run: build,
}

export const publint = {
  name: 'publint',
  doing: 'package.json against what would be published',
  needs: ['build'],
  run: () =>
    tool(runBin('publint', 'publint', ['--strict']), {
      problem: 'package.json promises what the package does not hold',
      advice: 'correct `exports`, `bin` or `files` in package.json as publint says.',
    }),
}

export const attw = {
  name: 'attw',
  doing: 'whether the packed types resolve for importers',
  needs: ['build'],
  run: () =>
    tool(
      runBin('@arethetypeswrong/cli', 'attw', ['--pack', '.', '--profile', 'esm-only', '--no-emoji', '--no-color']),
      {
        problem: 'the types of the published package would not resolve',
        advice: 'each entry of `exports` needs its `types` first; see the table above.',
      },
    ),
}

export const servers = {
  name: 'servers',
  doing: 'Redis, RabbitMQ and Celery for Python, for the tests that talk to them',
  run: ensureServers,
}

export const vitest = {
  name: 'vitest',
  doing: 'every test in test/',
  needs: ['install'],
  run: runTests,
}

/** Runs the steps in order, says how they went, and answers whether all passed and what the tests counted. */
export async function runSteps(steps) {
  endWithParent()
  const results = new Map()
  for (const step of steps) results.set(step.name, await runStep(step, results))
  const failed = [...results].filter(([, result]) => result.state !== 'passed')
  say('')
  for (const [name, { state, seconds, why }] of results) {
    say(`  ${state.padEnd(7)} ${name.padEnd(8)} ${seconds === undefined ? why : `${seconds} s`}`)
  }
  return { ok: failed.length === 0, tests: results.get('vitest')?.value }
}

async function runStep(step, results) {
  const missing = step.needs?.find((name) => results.has(name) && results.get(name).state !== 'passed')
  if (missing !== undefined) {
    say(`▸ ${step.name}: left out, it needs the step "${missing}"`)
    return { state: 'skipped', why: `needs ${missing}` }
  }
  say(`▸ ${step.name}: ${step.doing}`)
  const startedMs = performance.now()
  const seconds = () => ((performance.now() - startedMs) / 1000).toFixed(1)
  try {
    const value = await step.run()
    say(`  ok, ${seconds()} s`)
    return { state: 'passed', seconds: seconds(), value }
  } catch (error) {
    say(error instanceof StepFailed ? tell(error) : `  FAILED: ${error.stack}`)
    return { state: 'FAILED', seconds: seconds(), value: error.value }
  }
}

/** Biome colours its output even into a pipe, so it is told. */
function biome([command, ...args]) {
  return runBin('@biomejs/biome', 'biome', [command, `--colors=${process.stderr.isTTY ? 'force' : 'off'}`, ...args])
}

async function tool(running, { problem, advice }) {
  const { code, output } = await running
  if (code !== 0) throw new StepFailed(`${problem} (exit code ${code})`, { output, advice })
}

/** Vitest on the terminal, and its own counts from the report it writes beside. */
async function runTests() {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-tests-'))
  const report = join(folder, 'report.json')
  try {
    const args = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
    const { code } = await runBin('vitest', 'vitest', args, { show: 'terminal' })
    const results = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : undefined
    const counts = results === undefined ? { passed: 0, failed: 1 } : countTests(results)
    if (code === 0) return counts
    const failure = new StepFailed(`${counts.failed} tests failed (exit code ${code})`, {
      output: results === undefined ? '' : failuresOf(results),
      advice: 'see above; `npx vitest run FILE -t NAME` runs one test again.',
    })
    throw Object.assign(failure, { value: counts })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Which tests failed and the first line of why, together at the end: whoever sees only the end of a log knows. */
function failuresOf({ testResults }) {
  const lines = []
  for (const { name, message, assertionResults } of testResults) {
    const file = relative(root, name)
    if (message) lines.push(`${file}: ${firstLine(message)}`)
    for (const { status, fullName, failureMessages } of assertionResults) {
      if (status === 'failed') lines.push(`${file} > ${fullName}`, `  ${firstLine(failureMessages[0] ?? '')}`)
    }
  }
  return stripVTControlCharacters(lines.join('\n'))
}

function firstLine(text) {
  return text.trim().split('\n', 1)[0].slice(0, 300)
}

/** A file that does not even load holds no tests to count: it is one failure by itself. */
function countTests({ numPassedTests, numFailedTests, testResults }) {
  const broken = testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0)
  return { passed: numPassedTests, failed: numFailedTests + broken.length }
}
