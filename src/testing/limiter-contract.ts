import { expect } from 'vitest'
import type { Limiter, TokenAsk } from '../broker/limiter.ts'
import { contract, type Fixture, type Harness, range, uniqueName } from './contract.ts'

export interface LimiterFixture extends Fixture {
  readonly limiter: Limiter
  /** Another open connection to the same limits, as another process would have. */
  peer(): Promise<Limiter>
  /** How much the driver still keeps of a name: keys, rows or entries. Those that it clears away now and then are cleared first. */
  kept(name: string): Promise<number>
}

export interface LimiterHarness extends Harness<LimiterFixture> {
  /** A lease the driver can keep; short where time is real. In ms. @default 500 */
  readonly leaseMs?: number
}

/** One token in this time, in most cases: so slow that a driver on real time is hardly late against it. */
const tokenMs = 60_000
const slow = { limit: 10, perMs: 10 * tokenMs, maxWaitMs: Number.POSITIVE_INFINITY }

function times(count: number, ask: TokenAsk): TokenAsk[] {
  return range(count).map(() => ask)
}

/** Waits as numbers of tokens, for asks that were not made in the same millisecond. */
function inTokens(waits: readonly (number | null)[], ms = tokenMs): (number | null)[] {
  return waits.map((waitMs) => (waitMs === null ? null : Math.round(waitMs / ms)))
}

/** Every promise of `broker/limiter.ts`, as a suite for one driver. */
export function limiterContract(name: string, harness: LimiterHarness): void {
  const { leaseMs = 500 } = harness

  contract<LimiterFixture>(`${name} limiter`, harness, {
    rates: (declare) => {
      declare('gives the first token at once, and the others evenly after it', async ({ limiter }) => {
        const waits = await limiter.reserve(times(5, { key: uniqueName('rate'), ...slow }))

        expect(waits).toEqual([0, 1, 2, 3, 4].map((nth) => nth * tokenMs))
      })

      declare('adds no rounding up: three thirds are a whole', async ({ limiter }) => {
        const ask = { key: uniqueName('rate'), ...slow, limit: 3, perMs: 1_000 }

        const waits = await limiter.reserve(times(3_001, ask))

        expect(waits.slice(0, 7)).toEqual([0, 333, 666, 1_000, 1_333, 1_666, 2_000])
        expect(waits[3_000]).toBe(1_000_000)
      })

      declare('takes rates of less than one token, and of many in a millisecond', async ({ limiter }) => {
        const lazy = { key: uniqueName('lazy'), ...slow, limit: 0.5, perMs: 1_000 }
        const busy = { key: uniqueName('busy'), ...slow, limit: 1_000_000, perMs: 1_000 }

        const waits = await limiter.reserve([...times(3, lazy), ...times(2_500, busy)])

        expect(waits.slice(0, 3)).toEqual([0, 2_000, 4_000])
        expect([0, 999, 1_000, 1_999, 2_000, 2_499].map((nth) => waits[3 + nth])).toEqual([0, 0, 1, 1, 2, 2])
      })

      declare('gives each token to one, whoever asks', async ({ limiter, peer }) => {
        const ask = { key: uniqueName('rate'), ...slow }
        const elsewhere = await peer()

        const waits = await Promise.all(
          range(20).map((n) => (n % 2 === 0 ? limiter : elsewhere).reserve(times((n % 3) + 1, ask))),
        )

        const all = waits.flat().sort((a, b) => Number(a) - Number(b))
        expect(inTokens(all)).toEqual(range(all.length))
      })

      declare('counts the wait from when it was asked', async ({ limiter, peer, now, advance }) => {
        const ask = { key: uniqueName('rate'), ...slow }
        const elsewhere = await peer()

        const askedAt = now()
        await limiter.reserve([ask])
        await advance(leaseMs + 1)
        const [waitMs] = await elsewhere.reserve([ask])

        expect(waitMs).toBeLessThanOrEqual(tokenMs - leaseMs)
        expect(waitMs).toBeGreaterThanOrEqual(tokenMs - (now() - askedAt))
      })

      declare('has a token again when its time has come', async ({ limiter, advance }) => {
        const ask = { key: uniqueName('rate'), limit: 1, perMs: leaseMs, maxWaitMs: 0 }

        expect(await limiter.reserve([ask, ask])).toEqual([0, null])
        await advance(leaseMs + 1)

        expect(await limiter.reserve([ask, ask])).toEqual([0, null])
      })

      declare('lets no more through in any time than its rate and its burst', async (fixture) => {
        const { limiter, peer, now, advance } = fixture
        const everyMs = leaseMs / 5
        const ask = { key: uniqueName('rate'), limit: 5, perMs: leaseMs, burst: 3, maxWaitMs: 0 }
        const elsewhere = await peer()

        const startedAt = now()
        let passed = 0
        for (const _ of range(30)) {
          const waits = await Promise.all([limiter.reserve(times(4, ask)), elsewhere.reserve(times(4, ask))])
          passed += waits.flat().filter((waitMs) => waitMs === 0).length
          await advance(leaseMs / 20)
        }
        const elapsedMs = now() - startedAt

        expect(passed).toBeLessThanOrEqual(3 + elapsedMs / everyMs)
        expect(passed).toBeGreaterThanOrEqual(elapsedMs / everyMs / 2)
      })

      declare('keeps as many tokens as its burst, however long nobody asks', async ({ limiter, advance }) => {
        const everyMs = leaseMs / 5
        const ask = { key: uniqueName('rate'), ...slow, limit: 1, perMs: everyMs, burst: 2 }
        const burst = [0, 0, everyMs, 2 * everyMs]

        expect(await limiter.reserve(times(4, ask))).toEqual(burst)
        await advance(leaseMs * 2)

        expect(await limiter.reserve(times(4, ask))).toEqual(burst)
      })

      declare('holds each key for itself, and answers in the order of the asks', async ({ limiter }) => {
        const a = { key: uniqueName('a'), ...slow }
        const b = { key: uniqueName('b'), ...slow, limit: 5 }

        const waits = await limiter.reserve([a, b, a, b, a])

        expect(waits).toEqual([0, 0, tokenMs, 2 * tokenMs, 2 * tokenMs])
      })

      declare('reserves nothing that comes later than the ask would wait', async ({ limiter, peer }) => {
        const ask = { key: uniqueName('rate'), ...slow }
        const impatient = { ...ask, maxWaitMs: 2.5 * tokenMs }
        const elsewhere = await peer()

        expect(inTokens(await limiter.reserve(times(5, impatient)))).toEqual([0, 1, 2, null, null])
        expect(inTokens(await elsewhere.reserve(times(50, impatient)))).toEqual(range(50).map(() => null))

        expect(inTokens(await elsewhere.reserve([ask, impatient, ask]))).toEqual([3, null, 4])
      })

      declare('goes on at a new rate after what is reserved', async ({ limiter, peer }) => {
        const ask = { key: uniqueName('rate'), ...slow }
        const elsewhere = await peer()

        const before = await limiter.reserve(times(3, ask))
        const faster = await elsewhere.reserve(times(3, { ...ask, limit: 60 }))
        const slower = await limiter.reserve(times(2, { ...ask, limit: 5 }))
        const both = await limiter.reserve([
          { ...ask, limit: 60 },
          { ...ask, limit: 5 },
        ])

        const waits = [before, faster, slower, both].map((some) => inTokens(some, tokenMs / 6))
        expect(waits).toEqual([
          [0, 6, 12],
          [18, 19, 20],
          [21, 33],
          [45, 46],
        ])
      })

      declare('refuses a rate that lets nothing through, and reserves nothing with it', async ({ limiter }) => {
        const ask = { key: uniqueName('rate'), ...slow }
        const wrong: Partial<TokenAsk>[] = [
          { limit: 0 },
          { limit: -1 },
          { limit: Number.NaN },
          { perMs: 0 },
          { burst: 0 },
        ]

        for (const part of wrong) {
          await expect(limiter.reserve([ask, { ...ask, ...part }])).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
        }

        expect(await limiter.reserve([ask])).toEqual([0])
      })
    },

    slots: (declare) => {
      declare('are as many as the limit, whoever asks', async ({ limiter, peer }) => {
        const key = uniqueName('slots')
        const elsewhere = await peer()
        const ask = (holder: string) => ({ key, limit: 2, holder })

        expect(await limiter.acquire([ask('a')], leaseMs)).toEqual([true])
        expect(await elsewhere.acquire([ask('b'), ask('c')], leaseMs)).toEqual([true, false])

        expect(await limiter.acquire([ask('d')], leaseMs)).toEqual([false])
      })

      declare('are given to just so many of many who ask at once', async ({ limiter, peer }) => {
        const key = uniqueName('slots')
        const elsewhere = await peer()

        const answers = await Promise.all(
          range(20).map((n) =>
            (n % 2 === 0 ? limiter : elsewhere).acquire([{ key, limit: 3, holder: `holder-${n}` }], leaseMs),
          ),
        )

        expect(answers.flat().filter((taken) => taken)).toHaveLength(3)
      })

      declare('are one for each holder, however often it asks', async ({ limiter, peer }) => {
        const key = uniqueName('slots')
        const elsewhere = await peer()
        const ask = (holder: string) => ({ key, limit: 2, holder })

        expect(await limiter.acquire([ask('a'), ask('a')], leaseMs)).toEqual([true, true])
        expect(await elsewhere.acquire([ask('a'), ask('b'), ask('a')], leaseMs)).toEqual([true, true, true])

        expect(await limiter.acquire([ask('c'), ask('b')], leaseMs)).toEqual([false, true])
      })

      declare('are held for each key by itself, and answered in the order of the asks', async ({ limiter }) => {
        const [a, b] = [uniqueName('a'), uniqueName('b')]

        const answers = await limiter.acquire(
          [
            { key: a, limit: 1, holder: 'x' },
            { key: b, limit: 0, holder: 'x' },
            { key: a, limit: 1, holder: 'y' },
            { key: a, limit: 2, holder: 'y' },
            { key: b, limit: 1, holder: 'x' },
          ],
          leaseMs,
        )

        expect(answers).toEqual([true, false, false, true, true])
      })

      declare('are free again after their release, and not before', async ({ limiter, peer }) => {
        const key = uniqueName('slots')
        const elsewhere = await peer()
        const ask = (holder: string) => ({ key, limit: 2, holder })
        await limiter.acquire([ask('a'), ask('b')], leaseMs)

        await elsewhere.release([ask('stranger')])
        expect(await elsewhere.acquire([ask('c')], leaseMs)).toEqual([false])
        await limiter.release([ask('a')])
        await limiter.release([ask('a')])

        expect(await elsewhere.acquire([ask('c'), ask('d')], leaseMs)).toEqual([true, false])
      })

      declare('are free again when their leases are over, and not before', async ({ limiter, peer, advance }) => {
        const key = uniqueName('slots')
        const elsewhere = await peer()
        const ask = (holder: string) => ({ key, limit: 2, holder })
        await limiter.acquire([ask('a')], leaseMs)
        await limiter.acquire([ask('b')], leaseMs * 10)

        await advance(leaseMs / 2)
        expect(await elsewhere.acquire([ask('c')], leaseMs)).toEqual([false])
        await advance(leaseMs / 2 + 1)

        expect(await elsewhere.acquire([ask('c'), ask('d')], leaseMs)).toEqual([true, false])
      })

      declare('last their time again from a renewal, and from being asked for again', async (fixture) => {
        const { limiter, peer, advance } = fixture
        const key = uniqueName('slots')
        const elsewhere = await peer()
        const ask = (holder: string) => ({ key, limit: 2, holder })
        await limiter.acquire([ask('a'), ask('b')], leaseMs)

        for (const _ of range(3)) {
          await advance(leaseMs * 0.6)
          expect(await elsewhere.renew([ask('a')], leaseMs)).toEqual([])
          expect(await limiter.acquire([ask('b')], leaseMs)).toEqual([true])
        }
        expect(await elsewhere.acquire([ask('c')], leaseMs)).toEqual([false])
        await advance(leaseMs + 1)

        expect(await elsewhere.acquire([ask('c'), ask('d')], leaseMs)).toEqual([true, true])
      })

      declare('are lost with their leases, which a renewal tells of', async ({ limiter, peer, advance }) => {
        const key = uniqueName('slots')
        const elsewhere = await peer()
        const slot = (holder: string) => ({ key, limit: 3, holder })
        await limiter.acquire([slot('lapsed')], leaseMs)
        await limiter.acquire([slot('kept'), slot('released')], leaseMs * 10)
        await limiter.release([slot('released')])
        await advance(leaseMs + 1)

        const slots = ['kept', 'lapsed', 'released', 'never'].map((holder) => ({ key, holder }))
        const lost = slots.filter(({ holder }) => holder !== 'kept')
        expect(await limiter.renew(slots, leaseMs * 10)).toEqual(lost)
        expect(await elsewhere.acquire([slot('other')], leaseMs * 10)).toEqual([true])
        expect(await limiter.renew(slots, leaseMs * 10)).toEqual(lost)

        expect(await elsewhere.renew([slot('other')], leaseMs)).toEqual([])
        expect(await limiter.acquire([slot('a'), slot('b')], leaseMs)).toEqual([true, false])
      })

      declare('follow a limit that changes: nobody loses one, and none is given beyond it', async ({ limiter }) => {
        const key = uniqueName('slots')
        const ask = (holder: string, limit: number) => ({ key, limit, holder })
        await limiter.acquire([ask('a', 3), ask('b', 3), ask('c', 3)], leaseMs)

        expect(await limiter.acquire([ask('a', 1), ask('d', 1)], leaseMs)).toEqual([true, false])
        await limiter.release([ask('b', 1), ask('c', 1)])
        expect(await limiter.acquire([ask('d', 1)], leaseMs)).toEqual([false])

        expect(await limiter.acquire([ask('d', 2), ask('e', 3), ask('f', 3)], leaseMs)).toEqual([true, true, false])
      })
    },

    claims: (declare) => {
      declare('are of the first who comes, whom all others are told', async ({ limiter, peer }) => {
        const [key, other] = [uniqueName('claim'), uniqueName('other')]
        const elsewhere = await peer()

        expect(await limiter.claim(key, 'first', leaseMs)).toBe('first')
        expect(await elsewhere.claim(key, 'second', leaseMs)).toBe('first')
        expect(await limiter.claim(key, 'first', leaseMs)).toBe('first')

        expect(await elsewhere.claim(other, 'second', leaseMs)).toBe('second')
      })

      declare('are of just one of many who come at once', async ({ limiter, peer }) => {
        const key = uniqueName('claim')
        const elsewhere = await peer()

        const values = await Promise.all(
          range(20).map((n) => (n % 2 === 0 ? limiter : elsewhere).claim(key, `value-${n}`, leaseMs)),
        )

        expect(new Set(values).size).toBe(1)
      })

      declare('last their time, again when they are repeated, and no longer', async ({ limiter, peer, advance }) => {
        const key = uniqueName('claim')
        const elsewhere = await peer()
        await limiter.claim(key, 'first', leaseMs)

        await advance(leaseMs * 0.6)
        expect(await limiter.claim(key, 'first', leaseMs)).toBe('first')
        await advance(leaseMs * 0.6)
        expect(await elsewhere.claim(key, 'second', leaseMs)).toBe('first')
        await advance(leaseMs * 0.4 + 1)

        expect(await elsewhere.claim(key, 'second', leaseMs)).toBe('second')
        expect(await limiter.claim(key, 'first', leaseMs)).toBe('second')
      })

      declare('are let go of by who has them only, and twice without harm', async ({ limiter, peer }) => {
        const key = uniqueName('claim')
        const elsewhere = await peer()
        await limiter.claim(key, 'first', leaseMs)

        await elsewhere.unclaim(key, 'second')
        expect(await elsewhere.claim(key, 'second', leaseMs)).toBe('first')
        await limiter.unclaim(key, 'first')
        expect(await elsewhere.claim(key, 'second', leaseMs)).toBe('second')
        await limiter.unclaim(key, 'first')

        expect(await limiter.claim(key, 'first', leaseMs)).toBe('second')
      })
    },

    keeping: (declare) => {
      declare('forgets what is over', async ({ limiter, advance, kept }) => {
        const key = uniqueName('over')
        const ask = { key, ...slow, limit: 2, perMs: leaseMs }
        await limiter.reserve([ask, ask])
        await limiter.acquire([{ key, limit: 1, holder: 'a' }], leaseMs)
        await limiter.claim(key, 'a', leaseMs)

        expect(await kept(key)).toBe(3)
        await advance(leaseMs + 1)

        expect(await kept(key)).toBe(0)
      })

      declare('keeps nothing of what was refused or let go of', async ({ limiter, kept }) => {
        const key = uniqueName('refused')

        await limiter.reserve([{ key, ...slow, maxWaitMs: -1 }])
        await limiter.acquire([{ key, limit: 0, holder: 'a' }], leaseMs)
        await limiter.acquire([{ key, limit: 1, holder: 'b' }], leaseMs)
        await limiter.release([{ key, holder: 'b' }])
        await limiter.claim(key, 'a', leaseMs)
        await limiter.unclaim(key, 'a')

        expect(await kept(key)).toBe(0)
      })

      declare('holds its limits when every connection was closed and another opened', async ({ limiter, peer }) => {
        const key = uniqueName('closed')
        await limiter.reserve([{ key, ...slow }])
        await limiter.acquire([{ key, limit: 1, holder: 'a' }], 60_000)
        await limiter.claim(key, 'a', 60_000)

        await limiter.close()
        const next = await peer()

        expect(inTokens(await next.reserve([{ key, ...slow }]))).toEqual([1])
        expect(await next.acquire([{ key, limit: 1, holder: 'b' }], leaseMs)).toEqual([false])
        expect(await next.claim(key, 'b', leaseMs)).toBe('a')
      })
    },

    closing: (declare) => {
      declare('asks for nothing where nothing is asked', async ({ limiter }) => {
        expect(await limiter.reserve([])).toEqual([])
        expect(await limiter.acquire([], leaseMs)).toEqual([])
        expect(await limiter.renew([], leaseMs)).toEqual([])
        await limiter.release([])
      })

      declare('refuses everything after it was closed', async ({ limiter }) => {
        const slot = { key: uniqueName('closed'), limit: 1, holder: 'a' }
        await limiter.close()

        const calls = [
          limiter.reserve([{ ...slow, key: slot.key }]),
          limiter.acquire([slot], leaseMs),
          limiter.renew([slot], leaseMs),
          limiter.release([slot]),
          limiter.claim(slot.key, 'a', leaseMs),
          limiter.unclaim(slot.key, 'a'),
        ]

        for (const ended of await Promise.allSettled(calls)) {
          expect(ended).toMatchObject({ status: 'rejected', reason: { code: 'CLOSED' } })
        }
      })

      declare('closes twice without harm', async ({ limiter }) => {
        await Promise.all([limiter.close(), limiter.close()])
        await limiter.close()
      })
    },
  })
}
