import { expect, it } from 'vitest'
import { memoryUrl, newApp, sqliteUrl, until } from '../flow/fixture.ts'
import { describeWith, rabbitmq, redisUrl } from '../servers/index.ts'
import { monitoring } from './fixture.ts'

const brokers = [
  { broker: 'memory', url: async () => memoryUrl(), needs: [] },
  { broker: 'sqlite', url: async () => sqliteUrl(), needs: [] },
  { broker: 'redis', url: redisUrl, needs: ['redis'] },
  { broker: 'rabbitmq', url: async () => (await rabbitmq()).url, needs: ['rabbitmq'] },
] as const

let queues = 0
/** A queue of its own: servers are shared. */
const newQueue = (): string => `monitor-${process.pid}-${Date.now()}-${++queues}`

for (const { broker: kind, url, needs } of brokers) {
  describeWith(needs, `the API on ${kind}`, () => {
    it('tells of a task from its message to its end, and of its queue and worker', async () => {
      const broker = await url()
      const queue = newQueue()
      const { get } = await monitoring(broker)
      const app = newApp({ broker, defaultQueue: queue, results: false })
      const weigh = app.task('weigh', (grams: number) => grams / 1_000)
      const worker = await app.worker({ taskEvents: true })

      const { id } = await weigh.delay(250)
      await until(async () => (await get(`/tasks?id=${id}&state=SUCCESS`)).tasks.length === 1)
      await until(async () =>
        (await get('/workers')).some(({ queues }: { queues: string[] }) => queues.includes(queue)),
      )
      await until(async () => (await get('/queues')).some(({ name }: { name: string }) => name === queue))

      expect(await get(`/tasks/${id}`)).toMatchObject({
        ...{ id, name: 'weigh', state: 'SUCCESS', args: '(250,)', result: '0.25', worker: worker.name, queue },
        attempts: [{ number: 1, outcome: 'succeeded' }],
      })
      expect(await get(`/tasks/${id}/tree`)).toMatchObject({ id, children: [] })
      expect(await get(`/queues/${queue}`)).toMatchObject({ name: queue, tasks: [{ task: 'weigh', succeeded: 1 }] })
      expect(await get(`/workers/${worker.name}`)).toMatchObject({ isAlive: true, registered: ['weigh'] })
      await until(async () => (await get('/overview')).states.SUCCESS === 1)
      expect((await get('/task-names')).names).toEqual(['weigh'])
      expect((await get('/series?task=weigh')).points).toMatchObject([{ succeeded: 1, run: { count: 1 } }])
      expect(await get('/broker')).toMatchObject({ capabilities: expect.anything() })
    })
  })
}
