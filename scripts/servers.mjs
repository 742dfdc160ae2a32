/** Servers that some checks talk to: Debian packages, installed where we may, and named loudly where we may not. */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run, StepFailed, say } from './process.mjs'

let listsUpdated = false

/**
 * Sees to it that a server program is there. Answers 'present', 'installed', or 'missing' after saying what is skipped
 * without it. Under CI a missing server is a failure, because there a skipped check looks like a passed one.
 */
export async function ensureDebianPackage({ program, packageName, neededFor }) {
  if (isOnPath(program)) return 'present'
  const obstacle = await install(packageName)
  if (obstacle === undefined && isOnPath(program)) return 'installed'

  const problem = `${program} is missing (${obstacle ?? `${packageName} does not contain it`})`
  const advice = `install ${program}, on Debian with \`apt-get install ${packageName}\`. It is needed for ${neededFor}.`
  if (process.env.CI === 'true') throw new StepFailed(problem, { advice })
  say(`  SKIPPED: ${neededFor}: ${problem}. To run it, ${advice}`)
  return 'missing'
}

/** Installs a Debian package without questions; answers why it could not, or undefined. */
async function install(packageName) {
  if (!isOnPath('apt-get')) return 'there is no apt-get here'
  if (process.getuid?.() !== 0) return 'only root may install packages'
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  if (!listsUpdated) {
    say('  apt-get update …')
    const { code } = await run('apt-get', ['update', '-qq'], { show: 'stderr', env })
    // Without fresh lists the install may still find the package in the old ones.
    if (code !== 0) say(`  apt-get update ended with code ${code}; trying with the package lists there are`)
    listsUpdated = true
  }
  say(`  apt-get install ${packageName} …`)
  const { code, output } = await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', packageName], {
    env,
  })
  return code === 0 ? undefined : `apt-get ended with code ${code}: ${output.trim().split('\n').at(-1)}`
}

function isOnPath(program) {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return [...folders, '/usr/sbin', '/usr/local/sbin'].some((folder) => existsSync(join(folder, program)))
}
