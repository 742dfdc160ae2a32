import { closing } from './broker/closing.ts'
import { delays } from './broker/delays.ts'
import { fetching } from './broker/fetching.ts'
import type { BrokerHarness } from './broker/fixture.ts'
import { leases } from './broker/leases.ts'
import { messages } from './broker/messages.ts'
import { moving } from './broker/moving.ts'
import { order } from './broker/order.ts'
import { pausing } from './broker/pausing.ts'
import { queues } from './broker/queues.ts'
import { settling } from './broker/settling.ts'
import { contract } from './contract.ts'

/**
 * Every promise of `broker/broker.ts`, as a suite for one driver. What a driver's capabilities offer must work, and
 * what they do not offer must be refused.
 *
 * @example
 * brokerContract('redis', { capabilities: redisCapabilities, open: openOnRedis, skip: {} })
 */
export function brokerContract(name: string, harness: BrokerHarness): void {
  contract(`${name} broker`, harness, {
    messages: (declare) => messages(declare, harness),
    order: (declare) => order(declare, harness),
    delays: (declare) => delays(declare, harness),
    moving: (declare) => moving(declare, harness),
    settling: (declare) => settling(declare, harness),
    leases: (declare) => leases(declare, harness),
    fetching,
    queues: (declare) => queues(declare, harness),
    pausing: (declare) => pausing(declare, harness),
    closing,
  })
}
