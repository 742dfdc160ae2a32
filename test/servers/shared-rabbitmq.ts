/**
 * One RabbitMQ node for all test files of a run, started when the first of them asks: it takes 8 s, so that neither every
 * file should start its own, nor a run that needs none should wait for one. The run's main process owns it
 * (`global-setup.ts`) and tells the files' processes of it over loopback.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { RabbitmqAddress } from './rabbitmq-admin.ts'
import { type RabbitmqServer, startRabbitmqNode } from './rabbitmq-node.ts'

/** What a test file's process is told of the node. */
export interface SharedNode {
  readonly host: string
  readonly port: number
  readonly address: RabbitmqAddress
}

export interface SharedRabbitmq {
  /** Answers with a `SharedNode` as JSON, or with status 500 and the reason. */
  readonly url: string
  close(): Promise<void>
}

/** Listens; starts no node yet. */
export async function shareRabbitmq(): Promise<SharedRabbitmq> {
  let starting: Promise<RabbitmqServer> | undefined
  const server = createServer((_request, response) => {
    starting ??= startRabbitmqNode()
    starting.then(
      ({ port, address }) => response.end(JSON.stringify({ host: '127.0.0.1', port, address } satisfies SharedNode)),
      (error: unknown) => {
        response.statusCode = 500
        response.end(String(error))
      },
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      const node = await starting?.catch(() => undefined)
      await node?.remove()
    },
  }
}

/** The shared node, as seen from a test file; that of `CELERIAC_TEST_AMQP_URL` where it is set. */
export async function sharedNode(shareUrl: string): Promise<SharedNode> {
  const given = process.env.CELERIAC_TEST_AMQP_URL
  if (given !== undefined) return givenNode(new URL(given))
  const response = await fetch(shareUrl, { signal: AbortSignal.timeout(120_000) })
  if (!response.ok) throw new Error(`the RabbitMQ node of this run did not start: ${await response.text()}`)
  return (await response.json()) as SharedNode
}

/** Its management API is needed for virtual hosts: at port 15672 unless `CELERIAC_TEST_AMQP_MANAGEMENT_URL` says otherwise. */
function givenNode({ hostname, port, username, password }: URL): SharedNode {
  return {
    host: hostname,
    port: Number(port || 5672),
    address: {
      managementUrl: process.env.CELERIAC_TEST_AMQP_MANAGEMENT_URL ?? `http://${hostname}:15672`,
      user: decodeURIComponent(username || 'guest'),
      password: decodeURIComponent(password || 'guest'),
      ctlEnv: undefined,
    },
  }
}
