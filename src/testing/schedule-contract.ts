import { expect } from 'vitest'
import type { Broker, OutgoingMessage } from '../broker/broker.ts'
import type { Advance, ScheduleLead, ScheduleStore, StoredEntry } from '../broker/schedule-store.ts'
import { contract, type Fixture, type Harness, range, uniqueName } from './contract.ts'

export interface ScheduleFixture extends Fixture {
  readonly broker: Broker
  /** An empty one. */
  readonly store: ScheduleStore
  /** The same schedules, as another process sees them. */
  peer(): Promise<ScheduleStore>
}

export interface ScheduleHarness extends Harness<ScheduleFixture> {
  /** A lease the driver can keep; short where time is real. In ms. @default 500 */
  readonly leaseMs?: number
}

function message(queue: string, body: string): OutgoingMessage {
  return { queue, headers: {}, properties: { contentType: 'application/json', contentEncoding: 'utf-8' }, body }
}

async function leading(store: ScheduleStore, leaseMs: number): Promise<ScheduleLead> {
  return (await store.lead(leaseMs)) ?? expect.fail('somebody else leads')
}

/** All entries, each once. */
async function all(store: ScheduleStore): Promise<StoredEntry[]> {
  const found = new Map<string, StoredEntry>()
  for await (const page of store.list()) for (const entry of page) found.set(entry.name, entry)
  return [...found.values()]
}

/** Writes an entry, and tells its revision. */
async function written(store: ScheduleStore, name: string, value = '{}'): Promise<number> {
  const [entry] = await store.load([name])
  expect(await store.write([{ name, revision: entry?.revision ?? 0, value }])).toEqual([])
  return (await store.load([name]))[0]?.revision as number
}

function step(name: string, revision: number, value: string, ...publish: OutgoingMessage[]): Advance {
  return { name, revision, value, publish }
}

async function bodies(broker: Broker, queue: string): Promise<unknown[]> {
  return (await broker.peek(queue, 100)).map(({ body }) => body)
}

/** Every promise of `broker/schedule-store.ts`, as a suite for one driver. */
export function scheduleContract(name: string, harness: ScheduleHarness): void {
  const { leaseMs = 500 } = harness

  contract<ScheduleFixture>(`${name} schedules`, harness, {
    entries: (declare) => {
      declare('are there for everybody once they are written', async ({ store, peer }) => {
        const elsewhere = await peer()

        await store.write([
          { name: 'a', revision: 0, value: '{"x":"ä\\n"}' },
          { name: 'b', revision: 0, value: '' },
        ])

        const found = await all(elsewhere)
        expect(Object.fromEntries(found.map((entry) => [entry.name, entry.value]))).toEqual({
          a: '{"x":"ä\\n"}',
          b: '',
        })
        expect(found.every(({ revision }) => Number.isSafeInteger(revision) && revision > 0)).toBe(true)
        expect(await elsewhere.load(['b', 'c'])).toEqual(found.filter((entry) => entry.name === 'b'))
      })

      declare('are written by who has read their last state', async ({ store, peer }) => {
        const elsewhere = await peer()
        const revision = await written(store, 'a', 'first')
        const secondRevision = await written(elsewhere, 'a', 'second')

        const refused = await store.write([
          { name: 'a', revision, value: 'third' },
          { name: 'b', revision: 0, value: 'new' },
        ])

        expect(refused).toEqual(['a'])
        expect(secondRevision).toBe(revision + 1)
        expect((await store.load(['a', 'b'])).map(({ value }) => value).sort()).toEqual(['new', 'second'])
      })

      declare('are made once', async ({ store, peer }) => {
        const elsewhere = await peer()

        const refused = await Promise.all(
          [store, elsewhere].map((one) => one.write([{ name: 'a', revision: 0, value: 'x' }])),
        )

        expect(refused.flat()).toEqual(['a'])
      })

      declare('are removed, and have another revision when they are made anew', async ({ store, advance }) => {
        const revision = await written(store, 'a')

        expect(await store.write([{ name: 'a', revision, value: null }])).toEqual([])

        expect(await all(store)).toEqual([])
        await advance(5)
        expect(await written(store, 'a')).not.toBe(revision)
      })

      declare('are there again when everybody had left', async ({ store, peer }) => {
        await written(store, 'a', 'kept')
        const elsewhere = await peer()
        await store.close()

        expect((await all(elsewhere)).map(({ value }) => value)).toEqual(['kept'])
      })

      declare('may be many', async ({ store, peer }) => {
        const elsewhere = await peer()
        const names = range(2_500).map((n) => `entry ${n}`)

        await store.write(names.map((entry) => ({ name: entry, revision: 0, value: entry })))

        const found = await all(elsewhere)
        expect(found.map((entry) => entry.name).sort()).toEqual([...names].sort())
      })
    },

    leading: (declare) => {
      declare('is for one at a time', async ({ store, peer }) => {
        const elsewhere = await peer()
        const lead = await leading(store, leaseMs)

        expect(await elsewhere.lead(leaseMs)).toBeNull()
        await lead.release()

        await leading(elsewhere, leaseMs)
      })

      declare('lasts as long as it is renewed', async ({ store, peer, advance }) => {
        const elsewhere = await peer()
        const lead = await leading(store, leaseMs)

        for (const _ of range(3)) {
          await advance(leaseMs * 0.6)
          expect(await lead.renew(leaseMs)).toBe(true)
        }

        expect(await elsewhere.lead(leaseMs)).toBeNull()
      })

      declare('goes to somebody else when its lease is over', async ({ store, peer, advance }) => {
        const elsewhere = await peer()
        const lead = await leading(store, leaseMs)

        await advance(leaseMs + 1)
        await leading(elsewhere, leaseMs)

        expect(await lead.renew(leaseMs)).toBe(false)
      })

      declare('leaves entries to everybody', async ({ store, peer }) => {
        const elsewhere = await peer()
        await leading(store, leaseMs * 4)

        const revision = await written(elsewhere, 'a', 'while somebody leads')

        expect(await store.load(['a'])).toEqual([{ name: 'a', revision, value: 'while somebody leads' }])
        expect((await all(elsewhere)).map((entry) => entry.name)).toEqual(['a'])
      })

      declare('tells what others have changed, once', async ({ store, peer }) => {
        const elsewhere = await peer()
        await written(elsewhere, 'before')
        const lead = await leading(store, leaseMs * 4)
        expect(await lead.changes()).toEqual([])

        const revision = await written(elsewhere, 'a')
        await elsewhere.write([{ name: 'a', revision, value: null }])
        await written(store, 'b')

        expect((await lead.changes()).sort()).toEqual(['a', 'b'])
        expect(await lead.changes()).toEqual([])
      })
    },

    advancing: (declare) => {
      declare('publishes with the change of the entry', async ({ store, broker, peer }) => {
        const elsewhere = await peer()
        const queue = uniqueName('due')
        const revision = await written(store, 'a')
        const lead = await leading(store, leaseMs * 4)

        const stale = await lead.advance([step('a', revision, 'advanced', message(queue, '1'), message(queue, '2'))])

        expect(stale).toEqual([])
        expect(await bodies(broker, queue)).toEqual(['1', '2'])
        expect(await elsewhere.load(['a'])).toEqual([{ name: 'a', revision: revision + 1, value: 'advanced' }])
        expect(await lead.changes()).toEqual([])
      })

      declare('publishes nothing for an entry that was changed meanwhile, and goes on with others', async (fixture) => {
        const { store, broker, peer } = fixture
        const elsewhere = await peer()
        const queue = uniqueName('due')
        const first = await written(store, 'a')
        const second = await written(store, 'b')
        const lead = await leading(store, leaseMs * 4)
        await written(elsewhere, 'a', 'changed')

        const stale = await lead.advance([
          step('a', first, 'advanced', message(queue, 'a')),
          step('gone', 7, 'advanced', message(queue, 'gone')),
          step('b', second, 'advanced', message(queue, 'b')),
        ])

        expect(stale).toEqual(['a', 'gone'])
        expect(await bodies(broker, queue)).toEqual(['b'])
        const values = Object.fromEntries((await all(store)).map((entry) => [entry.name, entry.value]))
        expect(values).toEqual({ a: 'changed', b: 'advanced' })
      })

      declare('does not happen a second time', async ({ store, broker }) => {
        const queue = uniqueName('due')
        const revision = await written(store, 'a')
        const lead = await leading(store, leaseMs * 4)

        const again = [await lead.advance([step('a', revision, 'advanced', message(queue, '1'))])]
        again.push(await lead.advance([step('a', revision, 'advanced', message(queue, '1'))]))

        expect(again).toEqual([[], ['a']])
        expect(await bodies(broker, queue)).toEqual(['1'])
      })

      declare('does nothing once somebody else leads', async ({ store, broker, peer, advance }) => {
        const elsewhere = await peer()
        const queue = uniqueName('due')
        const revision = await written(store, 'a')
        const lost = await leading(store, leaseMs)
        await advance(leaseMs + 1)
        const lead = await leading(elsewhere, leaseMs * 4)

        await expect(lost.advance([step('a', revision, 'late', message(queue, 'late'))])).rejects.toMatchObject({
          code: 'LEASE_LOST',
        })
        const stale = await lead.advance([step('a', revision, 'advanced', message(queue, '1'))])

        expect(stale).toEqual([])
        expect(await bodies(broker, queue)).toEqual(['1'])
      })

      declare('carries many steps at once', async ({ store, broker }) => {
        const queue = uniqueName('due')
        const entries = range(1_000).map((n) => ({ name: `entry ${n}`, revision: 0, value: '{}' }))
        await store.write(entries)
        const lead = await leading(store, leaseMs * 20)

        const stale = await lead.advance(
          (await all(store)).map((entry) => step(entry.name, entry.revision, '{}', message(queue, entry.name))),
        )

        expect(stale).toEqual([])
        expect((await broker.depth(queue)).ready).toBe(1_000)
      })

      declare('keeps messages back that are delayed', async ({ store, broker }) => {
        const queue = uniqueName('due')
        const revision = await written(store, 'a')
        const lead = await leading(store, leaseMs * 4)

        await lead.advance([step('a', revision, '{}', { ...message(queue, '1'), delayMs: 60_000 })])

        expect((await broker.depth(queue)).ready).toBe(0)
      })
    },

    closing: (declare) => {
      declare('refuses to be used afterwards, and closes twice without harm', async ({ store }) => {
        await store.close()
        await store.close()

        await expect(store.lead(leaseMs)).rejects.toMatchObject({ code: 'CLOSED' })
      })
    },
  })
}
