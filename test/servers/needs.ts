/** Which servers are installed, and what becomes of the suites that need one that is not: skipped aloud, or failed in CI. */
import { beforeAll, describe, inject } from 'vitest'
import { chromium, onPath } from './on-path.ts'
import { pythonWithCelery } from './python.ts'
import { rabbitmqPrograms } from './rabbitmq-admin.ts'
import { sharedNode } from './shared-rabbitmq.ts'

interface Server {
  readonly isInstalled: () => boolean
  readonly advice: string
}

const servers = {
  /** One to share, for suites that only use it. */
  redis: {
    isInstalled: () => process.env.CELERIAC_TEST_REDIS_URL !== undefined || isOnPath('redis-server'),
    advice: 'apt-get install redis-server, or CELERIAC_TEST_REDIS_URL',
  },
  /** Ones of their own, for suites that stop, kill or configure them. */
  'redis-server': { isInstalled: () => isOnPath('redis-server'), advice: 'apt-get install redis-server' },
  rabbitmq: { isInstalled: () => rabbitmqPrograms !== '', advice: 'apt-get install rabbitmq-server' },
  python: {
    isInstalled: () => pythonWithCelery() !== undefined,
    advice: 'apt-get install python3-celery python3-redis python3-msgpack python3-yaml',
  },
  chromium: { isInstalled: () => chromium() !== undefined, advice: 'apt-get install chromium' },
} satisfies Record<string, Server>

export type ServerName = keyof typeof servers

/** A suite that needs servers. Where one is missing it is skipped with a line on stderr; with `CI=true` the file fails. */
export function describeWith(needed: ServerName | readonly ServerName[], title: string, body: () => void): void {
  const missing = [needed].flat().filter((name) => !servers[name as ServerName].isInstalled()) as ServerName[]
  if (missing.length === 0) {
    describe(title, () => {
      // No test is to be timed while it starts.
      if ([needed].flat().includes('rabbitmq')) beforeAll(awaitRabbitmq, 120_000)
      body()
    })
    return
  }
  const advice = missing.map((name) => `${name} (${servers[name].advice})`).join(' and ')
  if (process.env.CI === 'true') throw new Error(`the suite '${title}' needs ${advice}`)
  process.stderr.write(`SKIPPED: ${title}: needs ${advice}\n`)
  describe.skip(title, body)
}

async function awaitRabbitmq(): Promise<void> {
  await sharedNode(inject('rabbitmqShare'))
}

function isOnPath(program: string): boolean {
  return onPath(program) !== undefined
}
