/** A thread with a connection of its own that answers pings while a task holds up the worker's event loop. */
import { parentPort, workerData } from 'node:worker_threads'
import { answerPings } from '../../broker/pings.ts'
import { RabbitmqBus } from './bus.ts'
import { RabbitmqClient } from './client.ts'

export interface PingThreadData {
  readonly url: string
  readonly node: string
}

const { url, node } = workerData as PingThreadData
const ignore = (): void => undefined
const logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }

const bus = new RabbitmqBus(new RabbitmqClient({ url, logger }))
await bus.open()
await answerPings(bus, node)
parentPort?.postMessage('answering')
parentPort?.once('message', () => {
  void bus.close().finally(() => parentPort?.close())
})
