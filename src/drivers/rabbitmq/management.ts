/**
 * The management plugin's HTTP API (https://www.rabbitmq.com/docs/http-api-reference), which tells what the protocol
 * does not. It need not be there: what cannot be asked is answered with a text that says why.
 */
import type { RabbitmqSettings } from './settings.ts'

/** In ms. */
const patienceMs = 3_000

export class Management {
  /** Where it is thought to be. */
  readonly origin: string
  readonly #path: string
  readonly #login: string
  readonly #vhost: string

  constructor(settings: RabbitmqSettings) {
    const { origin, pathname, username, password } = settings.management ?? usualPlace(settings)
    this.origin = origin
    this.#path = pathname.replace(/\/$/, '')
    this.#login =
      username === ''
        ? `${settings.user}:${settings.password}`
        : `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
    this.#vhost = encodeURIComponent(settings.vhost)
  }

  /** @param path below `/api/`, in which `VHOST` stands for the broker's @returns a text where it is not known */
  async get<T extends object>(path: string): Promise<T | string> {
    try {
      const response = await fetch(`${this.origin}${this.#path}/api/${path.replace('VHOST', this.#vhost)}`, {
        headers: { authorization: `Basic ${Buffer.from(this.#login).toString('base64')}` },
        signal: AbortSignal.timeout(patienceMs),
      })
      if (!response.ok) return `not known: the management API at ${this.origin} answers with ${response.status}`
      const value: unknown = await response.json()
      return typeof value === 'object' && value !== null
        ? (value as T)
        : `not known: ${this.origin} is no management API`
    } catch (failure) {
      const { message } = ((failure as Error).cause ?? failure) as Error
      return `not known: no management API at ${this.origin} (${message})`
    }
  }
}

function usualPlace({ hosts, tls }: RabbitmqSettings): URL {
  const host = hosts[0]?.host ?? '127.0.0.1'
  const address = host.includes(':') ? `[${host}]` : host
  return new URL(tls === undefined ? `http://${address}:15672` : `https://${address}:15671`)
}
