import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, it, onTestFinished } from 'vitest'
import { Celeriac } from '../../src/index.ts'
import { range } from '../../src/testing/contract.ts'
import { describeWith, type RabbitmqServer, startRabbitmq } from '../servers/index.ts'
import { catchingUpMs, expectBeatsToCatchUp } from './beats.ts'
import { openShop, recoveredWithinMs, sendAlong } from './shop.ts'

const bootMs = 90_000

/** On a node of its own, which is killed and restarted. */
describeWith('rabbitmq', 'a RabbitMQ server', () => {
  let server: RabbitmqServer

  beforeAll(async () => {
    server = await startRabbitmq({ tls: true })
  })

  for (const kind of ['classic', 'quorum']) {
    it(
      `keeps what it accepted when it is killed, delayed messages too, and is consumed again (${kind} queues)`,
      async () => {
        const shop = await openShop(`${server.url}?queue_type=${kind}`)
        const later = shop.sender.remote<[number], void>('pick')
        const delayed = range(200).map((order) => 2_000_000 + order)
        await Promise.all(delayed.map((order) => later.applyAsync([order], { countdown: '3s' })))
        const along = sendAlong(shop)
        await expect.poll(() => shop.ran.length, { timeout: recoveredWithinMs }).toBeGreaterThan(200)
        // RabbitMQ writes down lazily which quorum queues there are, and cannot find one that was made just before a kill.
        await server.ctl('eval', '[dets:sync(Table) || Table <- dets:all()].')

        await server.kill()
        await shop.expectLogged('cannot be reached')
        await server.restart()
        await shop.expectWell()
        const accepted = await along.stop()

        await shop.expectRun(accepted)
        await shop.expectRun(delayed)
      },
      bootMs,
    )
  }

  it('goes on being consumed while an alarm keeps it from taking messages, which wait', async () => {
    let end = (): void => undefined
    const mayEnd = new Promise<void>((resolve) => {
      end = resolve
    })
    const shop = await openShop(server.url, { work: (order) => (order === 1 ? mayEnd : Promise.resolve()) })
    await shop.send(1)
    const impatient = await openShop(server.url, { publishTimeout: '500ms' })

    await server.ctl('set_vm_memory_high_watermark', 'absolute', '1MB')
    await expect(impatient.send(2)).rejects.toMatchObject({
      code: 'PUBLISH_TIMEOUT',
      message: expect.stringMatching(/alarm.*memory/),
    })
    const waiting = shop.send(3)
    end()
    await shop.expectRun([1])
    await server.ctl('set_vm_memory_high_watermark', 'absolute', '2GB')

    await waiting
    await shop.expectRun([3])
    await impatient.expectWell()
  })

  it('takes a channel that the server closed for a new one, says why, and runs again what was on loan', async () => {
    const set = (timeoutMs: number, tickMs: number): Promise<string> => {
      const settings = { consumer_timeout: timeoutMs, channel_tick_interval: tickMs }
      const calls = Object.entries(settings).map(([name, value]) => `application:set_env(rabbit, ${name}, ${value})`)
      return server.ctl('eval', `${calls.join(', ')}.`)
    }
    await set(2_000, 500)
    let runs = 0
    let end = (): void => undefined
    const mayEnd = new Promise<void>((resolve) => {
      end = resolve
    })
    const work = async (order: number): Promise<void> => {
      if (order !== 1) return
      runs += 1
      if (runs === 1) await mayEnd
    }
    const shop = await openShop(server.url, { work })

    await shop.send(1)
    await shop.expectLogged('consumer_timeout')
    await shop.expectRun([1])
    end()
    await shop.expectWell()

    expect(runs).toBe(2)
    await set(1_800_000, 60_000)
  })

  it('that is away for a while is caught up with by beats', () => expectBeatsToCatchUp(server), catchingUpMs)

  it('speaks TLS to those who trust its certificate', async () => {
    const { ca } = server.certificate ?? expect.fail('the server has no certificate')
    const folder = await mkdtemp(join(tmpdir(), 'celeriac-ca-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'ca.pem'), ca)

    const shop = await openShop(
      `${server.tlsUrl}?ca=${encodeURIComponent(join(folder, 'ca.pem'))}&servername=localhost`,
    )
    await shop.expectWell()

    const stranger = new Celeriac('stranger', { broker: server.tlsUrl ?? '', publishTimeout: '500ms' })
    onTestFinished(() => stranger.close())
    await expect(stranger.open()).rejects.toThrow(/certificate.*was not accepted.*\?ca=/)
  })
})
