import { expect } from 'vitest'
import type { Lock, LockLease } from '../broker/lock.ts'
import { contract, type Fixture, type Harness, range, uniqueName } from './contract.ts'

export interface LockFixture extends Fixture {
  readonly lock: Lock
  /** Another open connection to the same locks, as another process would have. */
  peer(): Promise<Lock>
}

export interface LockHarness extends Harness<LockFixture> {
  /** A lease the driver can keep; short where time is real. In ms. @default 500 */
  readonly leaseMs?: number
}

async function acquired(lock: Lock, name: string, leaseMs: number): Promise<LockLease> {
  const lease = await lock.acquire(name, leaseMs)
  return lease ?? expect.fail(`the lock ${name} is held by somebody else`)
}

/** Every promise of `broker/lock.ts`, as a suite for one driver. */
export function lockContract(name: string, harness: LockHarness): void {
  const { leaseMs = 500 } = harness

  contract<LockFixture>(`${name} lock`, harness, {
    holding: (declare) => {
      declare('is given to one at a time', async ({ lock, peer }) => {
        const leader = uniqueName('leader')
        const elsewhere = await peer()

        const lease = await acquired(lock, leader, leaseMs)

        expect(lease.name).toBe(leader)
        expect(await elsewhere.acquire(leader, leaseMs)).toBeNull()
        expect(await lock.acquire(leader, leaseMs)).toBeNull()
      })

      declare('is given to just one of many who ask at once', async ({ lock, peer }) => {
        const leader = uniqueName('leader')
        const elsewhere = await peer()

        const leases = await Promise.all(
          range(20).map((n) => (n % 2 === 0 ? lock : elsewhere).acquire(leader, leaseMs)),
        )

        expect(leases.filter((lease) => lease !== null)).toHaveLength(1)
      })

      declare('holds each name for itself', async ({ lock }) => {
        await acquired(lock, uniqueName('a'), leaseMs)
        await acquired(lock, uniqueName('b'), leaseMs)
      })

      declare('is free again after its release', async ({ lock, peer }) => {
        const leader = uniqueName('leader')
        const elsewhere = await peer()

        await (await acquired(lock, leader, leaseMs)).release()

        await acquired(elsewhere, leader, leaseMs)
        expect(await lock.acquire(leader, leaseMs)).toBeNull()
      })

      declare('is free again when its lease is over, and not before', async ({ lock, peer, advance }) => {
        const leader = uniqueName('leader')
        const elsewhere = await peer()
        await acquired(lock, leader, leaseMs)

        await advance(leaseMs / 2)
        expect(await elsewhere.acquire(leader, leaseMs)).toBeNull()
        await advance(leaseMs / 2 + 1)

        await acquired(elsewhere, leader, leaseMs)
      })
    },

    tokens: (declare) => {
      declare('begins with a whole token of at least 1', async ({ lock }) => {
        const { token } = await acquired(lock, uniqueName('leader'), leaseMs)

        expect(Number.isSafeInteger(token)).toBe(true)
        expect(token).toBeGreaterThanOrEqual(1)
      })

      declare('gives a larger token each time: after release, expiry and another connection', async (fixture) => {
        const { lock, peer, advance } = fixture
        const leader = uniqueName('leader')
        const elsewhere = await peer()

        const first = await acquired(lock, leader, leaseMs)
        await first.release()
        const second = await acquired(elsewhere, leader, leaseMs)
        await advance(leaseMs + 1)
        const third = await acquired(lock, leader, leaseMs)

        expect(second.token).toBeGreaterThan(first.token)
        expect(third.token).toBeGreaterThan(second.token)
      })

      declare('goes on counting when every connection was closed and another opened', async ({ lock, peer }) => {
        const leader = uniqueName('leader')
        const first = await acquired(lock, leader, leaseMs)
        await first.release()

        await lock.close()
        const second = await acquired(await peer(), leader, leaseMs)

        expect(second.token).toBeGreaterThan(first.token)
      })
    },

    renewing: (declare) => {
      declare('lasts its time again from a renewal', async ({ lock, peer, advance }) => {
        const leader = uniqueName('leader')
        const elsewhere = await peer()
        const lease = await acquired(lock, leader, leaseMs)

        for (const _ of range(3)) {
          await advance(leaseMs * 0.6)
          expect(await lease.renew(leaseMs)).toBe(true)
        }
        await advance(leaseMs * 0.6)

        expect(await elsewhere.acquire(leader, leaseMs)).toBeNull()
        await advance(leaseMs * 0.4 + 1)
        await acquired(elsewhere, leader, leaseMs)
      })

      declare('keeps its token when it is renewed', async ({ lock }) => {
        const lease = await acquired(lock, uniqueName('leader'), leaseMs)
        const { token } = lease

        await lease.renew(leaseMs)

        expect(lease.token).toBe(token)
      })

      declare('is not renewed once somebody else holds it, who is not disturbed', async ({ lock, peer, advance }) => {
        const leader = uniqueName('leader')
        const elsewhere = await peer()
        const lost = await acquired(lock, leader, leaseMs)
        await advance(leaseMs + 1)
        const held = await acquired(elsewhere, leader, leaseMs)

        expect(await lost.renew(leaseMs)).toBe(false)

        expect(await held.renew(leaseMs)).toBe(true)
      })

      declare('is not renewed once its time was over, though nobody took it', async ({ lock, advance }) => {
        const leader = uniqueName('leader')
        const lease = await acquired(lock, leader, leaseMs)
        await advance(leaseMs + 1)

        expect(await lease.renew(leaseMs)).toBe(false)

        await acquired(lock, leader, leaseMs)
      })

      declare('is not renewed after its release', async ({ lock }) => {
        const leader = uniqueName('leader')
        const lease = await acquired(lock, leader, leaseMs)
        await lease.release()

        expect(await lease.renew(leaseMs)).toBe(false)

        await acquired(lock, leader, leaseMs)
      })
    },

    releasing: (declare) => {
      declare('is released by its holder only', async ({ lock, peer, advance }) => {
        const leader = uniqueName('leader')
        const elsewhere = await peer()
        const lost = await acquired(lock, leader, leaseMs)
        await advance(leaseMs + 1)
        const held = await acquired(elsewhere, leader, leaseMs)

        await lost.release()

        expect(await lock.acquire(leader, leaseMs)).toBeNull()
        expect(await held.renew(leaseMs)).toBe(true)
      })

      declare('is released twice without harm', async ({ lock, peer }) => {
        const leader = uniqueName('leader')
        const lease = await acquired(lock, leader, leaseMs)
        await lease.release()
        const held = await acquired(await peer(), leader, leaseMs)

        await lease.release()

        expect(await held.renew(leaseMs)).toBe(true)
      })
    },

    closing: (declare) => {
      declare('refuses to acquire after it was closed', async ({ lock }) => {
        await lock.close()

        await expect(lock.acquire(uniqueName('leader'), leaseMs)).rejects.toMatchObject({ code: 'CLOSED' })
      })

      declare('closes twice without harm', async ({ lock }) => {
        await Promise.all([lock.close(), lock.close()])
        await lock.close()
      })
    },
  })
}
