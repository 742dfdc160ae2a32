import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { RabbitmqBroker, RabbitmqClient, RabbitmqScheduleStore } from '../../src/drivers/rabbitmq/index.ts'
import { ScheduleHold } from '../../src/drivers/rabbitmq/schedule-hold.ts'
import { scheduleContract } from '../../src/testing/index.ts'
import { describeWith, type Rabbitmq, rabbitmq } from '../servers/index.ts'

let server: Promise<Rabbitmq> | undefined
let scopes = 0

const allOf = (hold: ScheduleHold) => [...hold.entries(100)].flat()

describeWith('rabbitmq', 'with a server', () => {
  scheduleContract('rabbitmq', {
    skip: {
      'goes to somebody else when its lease is over': 'the lead ends with its connection, and lasts as long as that',
      'does nothing once somebody else leads': 'so nobody else leads',
    },
    open: async () => {
      server ??= rabbitmq()
      const { url } = await server
      const scope = `app ${scopes++}`
      const opened: { close(): Promise<void> }[] = []
      const connect = async () => {
        const client = new RabbitmqClient({ url })
        const broker = new RabbitmqBroker(client)
        const store = new RabbitmqScheduleStore(client, scope)
        await broker.open()
        await store.open()
        opened.push(store, broker)
        return { broker, store }
      }
      return {
        ...(await connect()),
        peer: async () => (await connect()).store,
        now: () => Date.now(),
        advance: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        close: async () => {
          for (const connection of opened) await connection.close()
        },
      }
    },
  })

  describe('rabbitmq schedules', () => {
    const message = (queue: string) => ({
      ...{ queue, headers: {}, body: '1' },
      properties: { contentType: 'application/json', contentEncoding: 'utf-8' },
    })

    async function open() {
      server ??= rabbitmq()
      const client = new RabbitmqClient({ url: (await server).url })
      await client.open()
      onTestFinished(() => client.close())
      return client
    }

    it('are lent anew before the server takes their holder for dead', async () => {
      const client = await open()
      const queue = `hold ${scopes++}`
      const parts = {
        session: await client.consuming.ready(5_000),
        clock: systemClock,
        queue,
        onReturned: () => undefined,
      }
      const hold = (await ScheduleHold.take(parts)) as ScheduleHold
      await hold.change(['a', 'b'].map((name) => ({ name, revision: 0, value: name, publish: [] })))
      const before = allOf(hold)

      await hold.lendAnew()
      const [one] = before
      const refused = await hold.change([{ name: 'a', revision: one?.revision ?? 0, value: 'new', publish: [] }])

      expect(refused).toEqual([])
      expect(await ScheduleHold.take(parts)).toBeUndefined()
      await hold.release()
      const next = await ScheduleHold.take(parts)
      expect(Object.fromEntries(allOf(next as ScheduleHold).map(({ name, value }) => [name, value]))).toEqual({
        a: 'new',
        b: 'b',
      })
    })

    it('are let go although the connection breaks before the server has answered', async () => {
      const client = await open()
      const session = await client.consuming.ready(5_000)
      const hold = await ScheduleHold.take({
        session,
        clock: systemClock,
        queue: `hold ${scopes++}`,
        onReturned: () => undefined,
      })

      const releasing = hold?.release()
      // The goodbye is written by the end of this turn, and its answer does not come.
      await new Promise(setImmediate)
      session.destroy('cut by the test')

      await releasing
      expect(hold?.isAlive).toBe(false)
    })

    it('are what was written last, however many have held them, in few messages', async () => {
      const client = await open()
      const session = await client.consuming.ready(5_000)
      const step = fc.record({
        changed: fc.uniqueArray(fc.nat(1_199), { maxLength: 80 }),
        removed: fc.uniqueArray(fc.nat(1_199), { maxLength: 5 }),
        ending: fc.constantFrom('goOn', 'goOn', 'goOn', 'lendAnew', 'release'),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40, size: 'max' }), async (steps) => {
          const queue = `hold ${scopes++}`
          const take = async () =>
            (await ScheduleHold.take({
              session,
              clock: systemClock,
              queue,
              onReturned: () => undefined,
            })) as ScheduleHold
          let hold = await take()
          const written = new Map<string, string>()
          const change = async (numbers: readonly number[], value: string | null) => {
            const names = numbers.map(String).filter((name) => value !== null || written.has(name))
            const revision = (name: string) => hold.get(name)?.revision ?? 0
            await hold.change(names.map((name) => ({ name, revision: revision(name), value, publish: [] })))
            for (const name of names) {
              if (value === null) written.delete(name)
              else written.set(name, value)
            }
          }
          await change([...Array(1_200).keys()], 'at first')
          for (const [index, { changed, removed, ending }] of steps.entries()) {
            await change(changed, `step ${index}`)
            await change(removed, null)
            if (ending === 'lendAnew') await hold.lendAnew()
            if (ending === 'release') await hold.release()
            if (ending === 'release') hold = await take()
          }
          await hold.release()
          const { messageCount } = await client.requests.run('counting', (channel) => channel.checkQueue(queue))
          hold = await take()
          expect(new Map(allOf(hold).map(({ name, value }) => [name, value]))).toEqual(written)
          await hold.release()
          expect(messageCount).toBeLessThan(steps.length + 20)
        }),
        { numRuns: 10 },
      )
    })

    it('refuse the second of two changes of one entry', async () => {
      const client = await open()
      const session = await client.consuming.ready(5_000)
      const parts = { session, clock: systemClock, queue: `hold ${scopes++}`, onReturned: () => undefined }
      const hold = (await ScheduleHold.take(parts)) as ScheduleHold
      const change = (value: string) => ({ name: 'a', revision: 0, value, publish: [] })

      expect(await hold.change([change('one'), change('other')])).toEqual(['a'])
      expect(hold.get('a')?.value).toBe('one')
    })

    it('reach a queue that was deleted since it was last used', async () => {
      const client = await open()
      const store = new RabbitmqScheduleStore(client, `deleted ${scopes++}`)
      await store.open()
      onTestFinished(() => store.close())
      const queue = `deleted ${process.pid}`
      await store.write([{ name: 'a', revision: 0, value: '1' }])
      const lead = await store.lead()
      const advance = async () => {
        const [entry] = await store.load(['a'])
        await lead?.advance([{ name: 'a', revision: entry?.revision ?? 0, value: '2', publish: [message(queue)] }])
      }
      await advance()
      await client.requests.run('deleting', (channel) => channel.deleteQueue(queue))

      await advance()

      await expect
        .poll(() =>
          client.requests
            .run('counting', (channel) => channel.checkQueue(queue))
            .then(
              (q) => q.messageCount,
              () => 0,
            ),
        )
        .toBe(1)
    })
  })
})
