/** Results that travel to their caller keep none of the promises of a store that others can read; these are its own. */
import { type Channel, connect } from 'amqplib'
import { beforeAll, expect, it, onTestFinished } from 'vitest'
import { RabbitmqClient, type RabbitmqOptions, RabbitmqResultStore } from '../../src/drivers/rabbitmq/index.ts'
import { Celeriac } from '../../src/index.ts'
import type { ResultRecord } from '../../src/result/result-store.ts'
import { range, uniqueName } from '../../src/testing/contract.ts'
import { resultRecord } from '../../src/testing/result-record.ts'
import { describeWith, type Rabbitmq, rabbitmq } from '../servers/index.ts'

describeWith('rabbitmq', 'results on RabbitMQ', () => {
  let server: Rabbitmq

  beforeAll(async () => {
    server = await rabbitmq()
  })

  async function openStore(options: Partial<RabbitmqOptions> = {}): Promise<RabbitmqResultStore> {
    const store = new RabbitmqResultStore(new RabbitmqClient({ url: server.url, ...options }))
    onTestFinished(() => store.close())
    await store.open()
    return store
  }

  async function openChannel(): Promise<Channel> {
    const connection = await connect(server.url)
    onTestFinished(() => connection.close())
    return connection.createChannel()
  }

  async function loadOne(store: RabbitmqResultStore, taskId: string): Promise<ResultRecord | undefined> {
    const [record] = await store.load([taskId])
    return record
  }

  it('brings the values of tasks to their callers, whichever worker runs them', async () => {
    const queue = uniqueName('results')
    const options = { broker: server.url, results: true, defaultQueue: queue }
    const app = new Celeriac('worker', options)
    const sender = new Celeriac('sender', options)
    onTestFinished(async () => {
      await sender.close()
      await app.close()
    })
    app.task('double', (n: number) => 2 * n)
    app.task('fail', () => {
      throw new TypeError('no')
    })
    await app.worker()
    const double = sender.remote<[number], number>('double')

    const results = await Promise.all(range(100).map((n) => double.delay(n)))

    expect(await Promise.all(results.map((result) => result.get({ timeout: '25s' })))).toEqual(
      range(100).map((n) => 2 * n),
    )
    const failed = await sender.remote<[], void>('fail').applyAsync([], {})
    await expect(failed.get({ timeout: '25s' })).rejects.toMatchObject({ code: 'TASK_FAILED', type: 'TypeError' })
    expect(await sender.result('never-sent').state()).toBe('UNKNOWN')
  })

  it('sends a record to its sender as it was saved, and tells his listeners', async () => {
    const [worker, sender] = [await openStore(), await openStore()]
    const record = resultRecord({
      taskId: uniqueName('task'),
      status: 'SUCCESS',
      result: { picked: [1, null, 'Zoë'] },
      children: ['a', 'b'],
      dateDone: '2026-01-01T12:00:00.123+00:00',
      parentId: 'parent',
      rootId: 'root',
      groupId: 'group',
      name: 'warehouse.pick',
      queue: 'picking',
      worker: 'worker1@host',
      retries: 2,
      sentAt: 1,
      startedAt: 2,
      doneAt: 3,
      fence: 3,
    })
    const told: ResultRecord[] = []
    await sender.subscribe([record.taskId], (heard) => told.push(heard))

    await worker.save([{ ...record, replyTo: sender.replyTo }])

    await expect.poll(() => told).toEqual([record])
    expect(await loadOne(sender, record.taskId)).toEqual(record)
    expect(await loadOne(worker, record.taskId)).toBeUndefined()
  })

  it('sends nothing where nobody asked, and to callers that are gone', async () => {
    const worker = await openStore()
    const taskId = uniqueName('task')

    await worker.save([resultRecord({ taskId, status: 'SUCCESS' })])
    await worker.save([resultRecord({ taskId, status: 'SUCCESS', replyTo: 'gone' })])

    expect(await loadOne(worker, taskId)).toBeUndefined()
  })

  it('keeps PENDING for the sender himself until more is known', async () => {
    const [worker, sender] = [await openStore(), await openStore()]
    const pending = resultRecord({ taskId: uniqueName('task'), replyTo: sender.replyTo })

    await sender.save([pending])
    expect(await loadOne(sender, pending.taskId)).toMatchObject({ status: 'PENDING' })
    await worker.save([{ ...pending, status: 'STARTED', fence: 1 }])

    await expect.poll(() => loadOne(sender, pending.taskId)).toMatchObject({ status: 'STARTED' })
  })

  it('replaces a record by no older one, and SUCCESS by nothing of the same attempt', async () => {
    const [worker, sender] = [await openStore(), await openStore()]
    const record = resultRecord({ taskId: uniqueName('task'), status: 'SUCCESS', fence: 2, replyTo: sender.replyTo })

    await worker.save([record, { ...record, status: 'FAILURE' }, { ...record, status: 'RETRY', fence: 1 }])
    const last = { ...record, taskId: uniqueName('last') }
    await worker.save([last])

    await expect.poll(() => loadOne(sender, last.taskId)).toBeDefined()
    expect(await loadOne(sender, record.taskId)).toMatchObject({ status: 'SUCCESS', fence: 2 })
  })

  it('keeps a record for its time', async () => {
    const sender = await openStore({ resultExpiresMs: 200 })
    const taskId = uniqueName('task')

    await sender.save([resultRecord({ taskId, status: 'SUCCESS', replyTo: sender.replyTo })])
    expect(await loadOne(sender, taskId)).toBeDefined()

    await expect.poll(() => loadOne(sender, taskId)).toBeUndefined()
    expect(await sender.expire()).toBeLessThanOrEqual(1)
  })

  it("reads what Celery's workers send, and passes over what is no result", async () => {
    const sender = await openStore()
    const channel = await openChannel()
    const taskId = uniqueName('task')
    const body = { task_id: taskId, status: 'SUCCESS', result: 5, traceback: null, children: [[['child', null], null]] }

    channel.sendToQueue(sender.replyTo, Buffer.from('garbage'))
    channel.sendToQueue(sender.replyTo, Buffer.from(JSON.stringify(body)), { correlationId: taskId })

    await expect
      .poll(() => loadOne(sender, taskId))
      .toMatchObject({ status: 'SUCCESS', result: 5, children: ['child'] })
  })

  it("sends what Celery's clients read", async () => {
    const worker = await openStore()
    const channel = await openChannel()
    const { queue } = await channel.assertQueue('', { exclusive: true })
    const record = resultRecord({ taskId: uniqueName('task'), status: 'FAILURE', result: 'no error object' })

    await worker.save([{ ...record, children: ['child'], replyTo: queue }])

    const message = await channel.get(queue, { noAck: true })
    if (message === false) expect.fail('nothing was sent')
    expect(message.properties.correlationId).toBe(record.taskId)
    expect(message.properties.deliveryMode).toBe(1)
    expect(JSON.parse(message.content.toString())).toMatchObject({
      task_id: record.taskId,
      status: 'FAILURE',
      result: { exc_type: 'Error', exc_module: 'js' },
      traceback: null,
      children: [[['child', null], null]],
    })
  })

  it('refuses joins, and says what can join', async () => {
    const store = await openStore()

    await expect(store.join()).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(store.closeJoin()).rejects.toThrow(/redis:/)
    await expect(store.openJoins()).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(store.saveGroups()).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(store.loadGroup()).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    expect(store.sharesStorageWith()).toBe(false)
  })

  it('takes its queue away when it closes, and refuses use afterwards', async () => {
    const store = new RabbitmqResultStore(new RabbitmqClient({ url: server.url }))
    await store.open()
    await Promise.all([store.close(), store.close()])

    await expect(store.load(['a'])).rejects.toMatchObject({ code: 'CLOSED' })
    const channel = await openChannel()
    channel.on('error', () => undefined)
    await expect(channel.checkQueue(store.replyTo)).rejects.toThrow(/NOT_FOUND/)
  })
})
