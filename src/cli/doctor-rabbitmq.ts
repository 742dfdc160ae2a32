/** What the doctor asks a RabbitMQ: its version, and by its management API, where that answers, of what kind the queues are. */
import { systemClock } from '../clock.ts'
import type { AppConfig } from '../config.ts'
import { error, type Finding, ok, warn } from './finding.ts'
import { plural } from './output.ts'
import { UsageError } from './values.ts'

export interface RabbitmqFacts {
  /** @example '3.13.7' */
  readonly version: string
  /** A text says why they are not known. */
  readonly queues: readonly ManagedQueue[] | string
}

/** As the management API tells it. */
export interface ManagedQueue {
  readonly name: string
  readonly type?: string
  readonly durable?: boolean
  readonly exclusive?: boolean
  /** Where its mirrors are; only where a policy asks for some. */
  readonly slave_nodes?: readonly string[]
}

const oldest = { major: 3, minor: 10 }
/** More than these are not looked at. */
const queuesSeen = 500
const namesShown = 3

/**
 * @param management where its API is; undefined = at its usual port
 * @throws CeleriacError the server cannot be reached
 */
export async function readRabbitmq(
  url: string,
  config: AppConfig,
  management: string | undefined,
): Promise<RabbitmqFacts> {
  const { Management, RabbitmqClient } = await import('../drivers/rabbitmq/index.ts')
  if (management !== undefined && !URL.canParse(management)) {
    throw new UsageError('--management takes a URL, such as http://rabbit:15672')
  }
  const client = new RabbitmqClient({ ...config, url, clock: systemClock })
  await client.open()
  const version = client.publishing.session?.serverVersion ?? ''
  await client.close()
  const place = management === undefined ? {} : { management: new URL(management) }
  const query = `page=1&page_size=${queuesSeen}&columns=name,type,durable,exclusive,slave_nodes`
  const api = new Management({ ...client.settings, ...place })
  const answer = await api.get<{ items?: readonly ManagedQueue[] }>(`queues/VHOST?${query}`)
  if (typeof answer === 'string') return { version, queues: `${answer}; --management says where it is` }
  return { version, queues: answer.items ?? `not known: ${api.origin} is no management API` }
}

export function aboutRabbitmq({ version, queues }: RabbitmqFacts): Finding[] {
  return [aboutVersion(version), ...(typeof queues === 'string' ? [ok('queue types', queues)] : aboutTypes(queues))]
}

function aboutVersion(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isOld = major < oldest.major || (major === oldest.major && minor < oldest.minor)
  // Services that speak its protocol count their own versions.
  if (!isOld || !/^\d+\.\d+/.test(version)) return ok('rabbitmq', `RabbitMQ ${version || 'of an unknown version'}`)
  return error('rabbitmq', `RabbitMQ ${version} is too old`, `install ${oldest.major}.${oldest.minor} or newer`)
}

function aboutTypes(queues: readonly ManagedQueue[]): Finding[] {
  const lasting = queues.filter(
    ({ durable, exclusive, name }) => durable && !exclusive && !/^(amq|celeriac)\./.test(name),
  )
  const classic = lasting.filter(({ type = 'classic' }) => type === 'classic')
  const mirrored = classic.filter(({ slave_nodes: mirrors }) => mirrors !== undefined)
  const quorum = lasting.filter(({ type }) => type === 'quorum')
  const findings: Finding[] = [
    ok(
      'queue types',
      `${classic.length} classic, on one node each; ${quorum.length} quorum, on several where there is a cluster`,
    ),
  ]
  if (mirrored.length > 0) {
    findings.push(
      warn(
        'queue types',
        `${plural(mirrored.length, 'classic queue')} mirrored by a policy (${namesOf(mirrored)}); RabbitMQ 4 has no mirrors`,
        'make them quorum queues: remove ha-mode from the policy, and declare them anew with queue_type=quorum in the URL',
      ),
    )
  }
  return findings
}

function namesOf(queues: readonly ManagedQueue[]): string {
  const names = queues.slice(0, namesShown).map(({ name }) => name)
  return queues.length > namesShown ? `${names.join(', ')} and others` : names.join(', ')
}
