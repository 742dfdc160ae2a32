/** The kit for tests of applications, used as their authors do: on a module's application, with nothing changed in it. */
import { Celeriac, chain } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { type TestOptions, testApp } from '../../src/testing/app.ts'
import { rejection, silent } from './fixture.ts'

/** What a user's module exports. */
function shop() {
  const app = new Celeriac('shop', { broker: 'redis://nowhere.invalid', results: true, logger: silent })
  const mails: string[] = []
  const sendMail = app.task(
    'mail.send',
    { autoretryFor: [RangeError], retryBackoff: '1m', retryJitter: false, maxRetries: 3 },
    (to: string) => void mails.push(to),
  )
  const remind = app.task('mail.remind', { bind: true }, async (ctx, to: string) => {
    await ctx.sleep('7d')
    await sendMail.delay(to)
  })
  const charge = app.task('charge', (order: { id: number; price: number }) => ({ ...order, paid: true }))
  const pack = app.batch('pack', { maxSize: 3, maxWait: '10s' }, (orders: { id: number }[]) =>
    orders.map(({ id }) => id),
  )
  const signUp = async (name: string): Promise<void> => {
    await sendMail.delay(name)
    await sendMail.applyAsync([`${name}, how are you?`], { countdown: '3d' })
  }
  return { app, mails, sendMail, remind, charge, pack, signUp }
}

async function open(options?: TestOptions) {
  const user = shop()
  return { ...user, test: await testApp(user.app, options) }
}

describe('the test kit', () => {
  it('runs what is sent, and what is sent for later when its time comes', async () => {
    const { test, mails, signUp } = await open()
    await using _ = test

    await signUp('zoe')
    await test.run()
    expect(mails).toEqual(['zoe'])
    await test.advance('2d')
    expect(mails).toEqual(['zoe'])
    await test.advance('1d')

    expect(mails).toEqual(['zoe', 'zoe, how are you?'])
    expect(test.ran('mail.send').map(({ outcome }) => outcome)).toEqual(['success', 'success'])
  })

  it('tells what was sent, and says what was instead', async () => {
    const { test, charge, sendMail, signUp } = await open({ worker: false })
    await using _ = test

    await signUp('zoe')
    await charge.delay({ id: 7, price: 10 })

    expect(test.expectEnqueued(sendMail, ['zoe'])).toMatchObject({ queue: 'celery', args: ['zoe'] })
    expect(test.expectEnqueued(charge, { id: 7 }).id).toMatch(/-/)
    expect(() => test.expectEnqueued(charge, { id: 8 })).toThrow(
      'no call of \'charge\' with {"id":8} was sent; these were:\n  [{"id":7,"price":10}] {}',
    )
    expect(() => test.expectEnqueued('refund')).toThrow('sent were: mail.send, mail.send, charge')
    expect(test.ran()).toEqual([])
  })

  it('has tasks fail, and drives their retries', async () => {
    const { test, mails, sendMail } = await open()
    await using _ = test
    test.failNext(sendMail, new RangeError('mail server away'), 2)

    const result = await sendMail.delay('zoe')
    await test.run()
    expect(mails).toEqual([])
    await test.waitFor(result, '4m')

    expect(mails).toEqual(['zoe'])
    expect(test.ran(sendMail).map(({ outcome }) => outcome)).toEqual(['retry', 'retry', 'success'])
    expect(test.clock.monotonic()).toBeLessThan(4 * 60_000)
  })

  it('drives sleeps, batches and pipelines', async () => {
    const { test, mails, remind, charge, pack } = await open()
    await using _ = test

    await remind.delay('zoe')
    const packed = await chain(charge.s({ id: 1, price: 2 }), pack.s()).delay()
    await test.run()
    expect(await packed.state()).toBe('PENDING')
    await test.advance('10s')
    expect(await packed.get()).toBe(1)
    await test.advance('7d')

    expect(mails).toEqual(['zoe'])
  })

  it('waits no longer than it was told to', async () => {
    const { test, sendMail } = await open()
    await using _ = test
    const later = await sendMail.applyAsync(['zoe'], { countdown: '1h' })

    expect((await rejection(test.waitFor(later, '30m'))).message).toMatch(/it did not happen within 30m/)
  })

  it('has a broker that fails and doubles, in the same way for the same seed', async () => {
    const outcomesWith = async (seed: number): Promise<string> => {
      const { test, sendMail } = await open({ flaky: { fails: 0.3, doubles: 0.3, seed } })
      await using _ = test
      const sends: string[] = []
      for (let n = 0; n < 30; n++) {
        sends.push(
          await sendMail.delay(`${n}`).then(
            () => 'sent',
            (error) => error.code,
          ),
        )
      }
      await test.run()
      expect(test.ran().length).toBeGreaterThan(sends.filter((one) => one === 'sent').length)
      return sends.join()
    }

    const first = await outcomesWith(7)
    expect(first).toContain('BROKER_UNAVAILABLE')
    expect(await outcomesWith(7)).toBe(first)
    expect(await outcomesWith(8)).not.toBe(first)
  })

  it('refuses an application that works elsewhere already', async () => {
    const { app, test } = await open()
    await using _ = test

    expect(await rejection(testApp(app))).toMatchObject({ code: 'CONFIG_INVALID' })
  })
})
