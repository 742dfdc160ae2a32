/** Servers that tests talk to, and the browser that they look with: Debian packages, installed where we may, and named loudly where we may not. */
import { execFileSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run, StepFailed, say } from './process.mjs'

/** Each with how to tell that it is there. Where the tests find them is in `test/servers/`. */
const servers = [
  {
    name: 'redis-server',
    packages: ['redis-server'],
    isPresent: () => isOnPath('redis-server'),
    neededFor: 'the tests on Redis',
  },
  {
    name: 'rabbitmq-server',
    packages: ['rabbitmq-server'],
    // Debian's program in PATH changes the user; the tests start the one in here.
    isPresent: () =>
      ['/usr/lib/rabbitmq/bin', '/opt/homebrew/sbin', '/usr/local/sbin'].some((folder) =>
        existsSync(join(folder, 'rabbitmq-server')),
      ),
    neededFor: 'the tests on RabbitMQ',
  },
  {
    name: 'Celery for Python 3',
    packages: ['python3-celery', 'python3-redis', 'python3-msgpack', 'python3-yaml'],
    isPresent: () => ['/usr/bin/python3', 'python3'].some(hasCelery),
    neededFor: 'the tests with Python',
  },
  {
    name: 'Chromium',
    packages: ['chromium'],
    isPresent: () => ['chromium', 'chromium-browser', 'google-chrome'].some(isOnPath),
    neededFor: 'the tests of the dashboard',
  },
]

/**
 * Sees to it that every server is there; says what is skipped without those that are not.
 * @throws StepFailed with `CI=true`, because there a skipped test looks like a passed one
 */
export async function ensureServers() {
  const missing = servers.filter(({ isPresent }) => !isPresent())
  if (missing.length === 0) return
  const obstacle = await install(missing.flatMap(({ packages }) => packages))
  for (const { name, packages, isPresent, neededFor } of missing) {
    if (isPresent()) continue
    const problem = `${name} is missing (${obstacle ?? `${packages.join(' ')} does not contain it`})`
    const advice = `install it, on Debian with \`apt-get install ${packages.join(' ')}\`. It is needed for ${neededFor}.`
    if (process.env.CI === 'true') throw new StepFailed(problem, { advice })
    say(`  SKIPPED: ${neededFor}: ${problem}. To run them, ${advice}`)
  }
}

/** Installs Debian packages without questions; answers why it could not, or undefined. */
async function install(packages) {
  if (!isOnPath('apt-get')) return 'there is no apt-get here'
  if (process.getuid?.() !== 0) return 'only root may install packages'
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  say('  apt-get update …')
  const update = await run('apt-get', ['update', '-qq'], { show: 'stderr', env })
  // Without fresh lists the install may still find the packages in the old ones.
  if (update.code !== 0) say(`  apt-get update ended with code ${update.code}; trying with the package lists there are`)
  say(`  apt-get install ${packages.join(' ')} …`)
  const { code, output } = await withoutDaemons(() =>
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env }),
  )
  return code === 0 ? undefined : `apt-get ended with code ${code}: ${output.trim().split('\n').at(-1)}`
}

/**
 * Packages of servers start them when they are installed, unless this program says no (101 = forbidden by policy).
 * https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
 */
async function withoutDaemons(install) {
  const policy = '/usr/sbin/policy-rc.d'
  if (existsSync(policy)) return install()
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  const remove = () => rmSync(policy, { force: true })
  process.once('exit', remove)
  try {
    return await install()
  } finally {
    process.off('exit', remove)
    remove()
  }
}

function hasCelery(python) {
  try {
    execFileSync(python, ['-c', 'import celery, msgpack, redis, yaml'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function isOnPath(program) {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return [...folders, '/usr/sbin', '/usr/local/sbin'].some((folder) => existsSync(join(folder, program)))
}
