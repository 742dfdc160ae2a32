/** What the doctor asks a RabbitMQ: its version, and by its management API, where that answers, of what kind the queues are. */
import { systemClock } from '../clock.ts'
import type { AppConfig } from '../config.ts'
import type { RabbitmqSettings } from '../drivers/rabbitmq/settings.ts'
import { messageOf } from './failure.ts'
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
const patienceMs = 3_000
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
  const { RabbitmqClient } = await import('../drivers/rabbitmq/index.ts')
  const client = new RabbitmqClient({ ...config, url, clock: systemClock })
  await client.open()
  const version = client.publishing.session?.serverVersion ?? ''
  await client.close()
  return { version, queues: await readQueues(client.settings, management ?? usualManagement(client.settings)) }
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

function usualManagement({ hosts, tls }: RabbitmqSettings): string {
  const host = hosts[0]?.host ?? '127.0.0.1'
  const address = host.includes(':') ? `[${host}]` : host
  return tls === undefined ? `http://${address}:15672` : `https://${address}:15671`
}

/** As the user of the management URL, if it names one, else as that of the broker. */
async function readQueues(settings: RabbitmqSettings, management: string): Promise<RabbitmqFacts['queues']> {
  if (!URL.canParse(management)) throw new UsageError(`--management takes a URL, such as ${usualManagement(settings)}`)
  const { origin, pathname, username, password } = new URL(management)
  const login =
    username === ''
      ? `${settings.user}:${settings.password}`
      : `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  const path = `${pathname.replace(/\/$/, '')}/api/queues/${encodeURIComponent(settings.vhost)}`
  const query = `page=1&page_size=${queuesSeen}&columns=name,type,durable,exclusive,slave_nodes`
  try {
    const response = await fetch(`${origin}${path}?${query}`, {
      headers: { authorization: `Basic ${Buffer.from(login).toString('base64')}` },
      signal: AbortSignal.timeout(patienceMs),
    })
    if (!response.ok) return `not known: the management API at ${origin} answers with ${response.status}`
    const { items } = (await response.json()) as { items?: readonly ManagedQueue[] }
    return items ?? `not known: ${origin} is no management API`
  } catch (failure) {
    const cause = (failure as Error).cause ?? failure
    return `not known: no management API at ${origin} (${messageOf(cause)}); --management says where it is`
  }
}
