import { expect, it } from 'vitest'
import { range } from '../../src/testing/contract.ts'
import { startRabbitmq } from '../servers/index.ts'
import { openShop } from './shop.ts'
it('x', async () => {
  const server = await startRabbitmq()
  for (const round of range(4)) {
    const shop = await openShop(`${server.url}?queue_type=quorum`)
    const later = shop.sender.remote<[number], void>('pick')
    const t0 = Date.now(); const log = (...x: unknown[]) => process.stderr.write(`${round} ${((Date.now() - t0) / 1000).toFixed(1)} ${x.join(' ')}\n`)
    await Promise.all(range(200).map((order) => later.applyAsync([2_000_000 + order], { countdown: '3s' })))
    log('delayed sent')
    await server.ctl('eval', '[dets:sync(T) || T <- dets:all()].')
    await server.kill(); log('killed')
    await shop.expectLogged('cannot be reached')
    await server.restart(); log('restarted')
    await shop.expectWell(); log('well', shop.ran.length)
    const want = range(200).map((order) => 2_000_000 + order)
    await expect.poll(() => want.filter((o) => !shop.ran.includes(o)).length, { timeout: 60000 }).toBe(0)
    log('delayed ran', shop.ran.length)
  }
}, 300_000)
