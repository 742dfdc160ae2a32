import type { BrokerCapabilities } from '../../src/broker/broker.ts'
import type { RabbitmqConsumer } from '../../src/drivers/rabbitmq/consumer.ts'
import type { DelayedConsumer } from '../../src/drivers/rabbitmq/delayed-consumer.ts'
import { RabbitmqBroker, RabbitmqBus, RabbitmqClient, rabbitmqCapabilities } from '../../src/drivers/rabbitmq/index.ts'
import { brokerContract, busContract } from '../../src/testing/index.ts'
import { describeWith, type Rabbitmq, rabbitmq } from '../servers/index.ts'

interface Connection {
  open(): Promise<void>
  close(): Promise<void>
}

let server: Promise<Rabbitmq> | undefined

/** A client of its own for each connection, as each process has; all of them on the vhost of this file. */
async function openVhost(query = '') {
  server ??= rabbitmq()
  const { url } = await server
  const opened: Connection[] = []
  const open = async <T extends Connection>(connection: T): Promise<T> => {
    opened.push(connection)
    await connection.open()
    return connection
  }
  const client = () => new RabbitmqClient({ url: `${url}${query}` })
  return {
    broker: () => open(new RabbitmqBroker(client())),
    bus: () => open(new RabbitmqBus(client())),
    time: {
      now: () => Date.now(),
      advance: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
      close: async () => {
        for (const connection of opened) await connection.close()
      },
    },
  }
}

const notCounted = 'the queues of delays are shared by all queues, and AMQP counts only what is in a queue'
const marked = 'a look takes messages and gives them back, which the server marks as it marks a loss'

const behind = 'a look takes messages and gives them back, and quorum queues put them behind the others'

const skip = {
  'counts a delayed message as delayed until it is due, and as ready then': notCounted,
  'releases with a delay, costing no delivery': notCounted,
  'keeps a delay of ten years': notCounted,
  'gives a plain consumer nothing before its time, neither on loan nor after its release': notCounted,
  'replaces a message by a delayed one in an acknowledgement, as a retry does': notCounted,
  'counts no age for what is delayed': notCounted,
  'shows the delayed after the ready, with the time they are due': notCounted,
  'keeps the time of a message whose consumer was lost, and counts the loss':
    'whoever looks through the delays takes and gives back what is for others, so returns say nothing there',
  'gives a released message back to its old place, costing no delivery':
    'AMQP keeps the place only of what it then marks as redelivered, the sign of a loss; released, it is published again',
  'delivers an unsettled message again as it was, whatever the first receiver did to it':
    'what is released is published again from the very object that was handed out',
  'tells the age of the ready message that has waited longest': 'AMQP does not tell',
  'shows messages where they lie, without taking them': marked,
  'shows messages on loan as such': 'AMQP shows nobody what another consumer has',
}

/** The suite's cases on queues of one kind, as the URL asks for them. */
function onQueues(
  name: string,
  query: string,
  capabilities: BrokerCapabilities,
  skipped: Record<string, string>,
): void {
  brokerContract(name, {
    capabilities,
    delayMs: 800,
    skip: skipped,
    open: async () => {
      const { broker, time } = await openVhost(query)
      return {
        ...time,
        broker: await broker(),
        peer: broker,
        crash: (consumer) => (consumer as RabbitmqConsumer | DelayedConsumer).abandon(),
      }
    },
  })
}

describeWith('rabbitmq', 'RabbitMQ', () => {
  onQueues('rabbitmq (classic queues)', '', rabbitmqCapabilities, skip)
  onQueues('rabbitmq (quorum queues)', '?queue_type=quorum', rabbitmqCapabilities, {
    ...skip,
    'shows the next to be delivered first, in pages': behind,
  })
  onQueues('rabbitmq (priorities)', '?max_priority=10', { ...rabbitmqCapabilities, priorityLevels: 10 }, skip)

  busContract('rabbitmq', {
    open: async () => {
      const { bus, time } = await openVhost()
      return { ...time, bus: await bus(), peer: bus }
    },
  })
})
