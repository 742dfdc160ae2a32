/** A program of this repository, written in TypeScript, made ready and run: packages, build, then the file itself. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { buildIfStale } from './build.mjs'
import { installPackages } from './install.mjs'
import { endWithParent } from './orphan.mjs'
import { root, StepFailed, script } from './process.mjs'

/**
 * Installs and builds what is missing and becomes the program: it runs in this very process, so its exit code, its
 * stdout and the signals sent to us are its own.
 */
export async function runProgram(file, { packagesIn = [] } = {}) {
  endWithParent()
  await script(async () => {
    if (!existsSync(join(root, file))) throw new StepFailed(`${file} does not exist in this checkout`)
    for (const folder of ['.', ...packagesIn]) await installPackages(folder)
    await buildIfStale()
  })
  process.argv.splice(2, 0, join(root, file))
  await import('./run-ts.mjs')
}
