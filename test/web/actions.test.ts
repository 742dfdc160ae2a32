import { beforeAll, describe, expect, it } from 'vitest'
import type { Worker } from '../../src/monitor/api-types.ts'
import { buildPackage } from '../e2e/processes.ts'
import { sqliteUrl, until } from '../flow/fixture.ts'
import { describeWith, rabbitmq, redisUrl } from '../servers/index.ts'
import { button, confirm, openPage, see } from './browser.ts'
import { settled, startFleet, startLate } from './fleet.ts'

beforeAll(buildPackage, 180_000)

const brokers = [
  { broker: 'SQLite', url: async () => sqliteUrl(), needs: [] },
  { broker: 'Redis', url: redisUrl, needs: ['redis'] },
  { broker: 'RabbitMQ', url: async () => (await rabbitmq()).url, needs: ['rabbitmq'] },
] as const

describe.each(brokers)('what is done in the dashboard, on $broker', ({ url, needs }) => {
  describeWith(['chromium', ...needs], 'with what it needs', () => {
    it('is done in the fleet', async () => {
      const fleet = await startFleet(await url())
      const { app, worker, ran, get } = fleet
      const { failed, letters } = await settled(fleet)
      const page = await openPage()
      const queue = async (name: string) => (await app.broker.queues()).find((info) => info.queue === name)

      // Queues: held, and let go on.
      await see(page, `${fleet.url}/queues/later`, 'Waiting')
      await button(page, 'Pause').click()
      await until(async () => (await queue('later'))?.paused === true)
      await button(page, 'Resume').click()
      await until(async () => (await queue('later'))?.paused === false)

      // What waits is known where a look leaves no trace, and why it does. Revoked, it is run by nobody.
      if (app.broker.capabilities.silentPeek) {
        const [waiting] = (await get('/tasks?name=late&state=PENDING')).tasks
        await see(page, `${fleet.url}/tasks/${waiting.id}`, 'no worker takes from later')
        await button(page, 'Revoke …').click()
        await confirm(page, 'Revoke')
        await until(async () => worker.revoked.has(waiting.id))
      }

      // Emptied, once its name is typed.
      await see(page, `${fleet.url}/queues/later`, 'Waiting')
      await button(page, 'Purge …').click()
      const purge = page.getByRole('dialog').getByRole('button', { name: 'Purge' })
      expect(await purge.isDisabled()).toBe(true)
      await page.getByRole('dialog').getByRole('textbox').fill('later')
      await purge.click()
      await until(async () => (await queue('later'))?.ready === 0)
      expect(ran).toEqual([])

      // A schedule is run now, and held.
      const heir = await startLate(app)
      await see(page, `${fleet.url}/schedules`, 'stocktaking')
      await button(page, 'Run now').click()
      await until(() => ran.includes('stock'))
      await button(page, 'Pause').click()
      await until(async () => (await app.schedules.get('stocktaking')).isPaused)

      // A task is sent.
      await page.goto(`${fleet.url}/tasks`)
      await button(page, 'Send …').click()
      await page.getByRole('dialog').getByLabel('Task', { exact: true }).fill('late')
      await page.getByRole('dialog').getByLabel('Arguments', { exact: true }).fill('["by hand"]')
      await page.getByRole('dialog').getByLabel('Queue').fill('later')
      await confirm(page, 'Send')
      await until(() => ran.includes('by hand'))

      // The failed one is tried again with other arguments, and goes through.
      await see(page, `${fleet.url}/tasks/${failed}`, 'no way to order-7')
      await button(page, 'Retry with edits …').click()
      await page.getByRole('dialog').getByLabel('Arguments', { exact: true }).fill('[{"order": "order-8"}]')
      await confirm(page, 'Retry')
      await until(async () => (await get('/tasks?name=ship&state=FAILURE')).tasks.length === 0)

      // Another one dies; its group is redriven, dies again, and is discarded.
      await app.remote('ship').delay({ order: 'order-17' })
      await until(async () => (await get('/dead-letters/groups')).length === 1)
      await see(page, `${fleet.url}/dead-letters?group=${letters}&queue=shop`, 'RangeError')
      const group = page.getByRole('row', { name: /RangeError/ })
      await group.getByRole('button', { name: 'Redrive …' }).click()
      await confirm(page, 'Redrive')
      await page.getByText('It is under way').waitFor()
      await until(async () => (await get('/jobs'))[0]?.state === 'done')
      await until(async () => (await get('/dead-letters/groups')).length === 1)
      await page.reload()
      await group.getByRole('button', { name: 'Discard …' }).click()
      await confirm(page, 'Discard')
      await until(async () => (await app.deadLetters.list({ limit: 10 })).length === 0)

      // The worker grows, takes from another queue, and is shut down.
      await see(page, `${fleet.url}/workers/${encodeURIComponent(worker.name)}`, 'Pool')
      await button(page, 'Grow by 1').click()
      await until(() => worker.pools[0]?.size === 5)
      await button(page, 'Limits').click()
      await page.getByRole('row', { name: /^pick/ }).getByRole('button', { name: 'Rate limit …' }).click()
      await page.getByRole('dialog').getByLabel('Rate').fill('7/s')
      await confirm(page, 'Tell it')
      await page.getByText(/new rate limit/).waitFor()
      await button(page, 'Queues').click()
      await button(page, 'Add queue …').click()
      await page.getByRole('dialog').getByLabel('Queue').fill('later')
      await confirm(page, 'Tell it')
      await until(async () => (await queue('later'))?.consumers === 2)
      await button(page, 'Shut down …').click()
      await confirm(page, 'Shut down')
      await until(() => worker.stopping.aborted)

      // All of it is written down.
      await see(page, `${fleet.url}/audit`, 'POST /queues/:name/purge')
      await heir.stop()
    }, 90_000)

    it('tells a worker all that Flower can, and more', async () => {
      const fleet = await startFleet(await url())
      const { app, worker, get } = fleet
      await settled(fleet)
      const page = await openPage()
      const dialog = page.getByRole('dialog')
      const open = (name: string, tab: string) =>
        see(page, `${fleet.url}/workers/${encodeURIComponent(name)}?tab=${tab}`, 'Processed')
      const stateOf = async (id: string) => (await get(`/tasks?id=${id}`)).tasks[0]?.state

      // Its pool: by one more, by one fewer.
      await open(worker.name, 'pool')
      await button(page, 'Grow by 1').click()
      await until(() => worker.pools[0]?.size === 5)
      await button(page, 'Shrink by 1').click()
      await until(() => worker.pools[0]?.size === 4)

      // Whether it tells of its tasks.
      await button(page, 'Disable events').click()
      await page.getByText('task events disabled').waitFor()
      const done: string[] = []
      app.signals.on('taskSuccess', ({ id }) => void done.push(id))
      const unheard = await app.remote('pick').delay('in silence')
      await until(() => done.includes(unheard.id))
      await button(page, 'Enable events').click()
      await page.getByText('task events enabled').waitFor()
      const heard = await app.remote('pick').delay('told of')
      await until(async () => (await stateOf(heard.id)) === 'SUCCESS')
      expect(await stateOf(unheard.id)).not.toBe('SUCCESS')

      // What runs is ended, by hand and by its limit.
      const endless = await app.remote('hold').delay('by hand')
      await until(async () => (await stateOf(endless.id)) === 'STARTED')
      await see(page, `${fleet.url}/tasks/${endless.id}`, 'STARTED')
      await button(page, 'Terminate …').click()
      await confirm(page, 'Terminate')
      await until(async () => (await stateOf(endless.id)) === 'REVOKED')
      await open(worker.name, 'limits')
      await page.getByRole('row', { name: /^hold/ }).getByRole('button', { name: 'Time limits …' }).click()
      await dialog.getByLabel('Hard, in seconds').fill('0.2')
      await confirm(page, 'Tell it')
      await page.getByText('time limits set successfully').waitFor()
      const limited = await app.remote('hold').delay('by its limit')
      await until(async () => (await stateOf(limited.id)) === 'FAILURE')

      // A dead letter by itself, with other arguments.
      await app.remote('ship').delay({ order: 'order-27' })
      await until(async () => (await app.deadLetters.list({ limit: 10 })).length === 3)
      const groups = await get('/dead-letters/groups')
      const { fingerprint } = groups.find((group: { task: string }) => group.task === 'ship')
      await see(page, `${fleet.url}/dead-letters?group=${fingerprint}&queue=shop`, 'Of this group')
      const letter = page.locator('details.card', { hasText: 'order-27' })
      await letter.locator('summary').first().click()
      await letter.getByRole('button', { name: 'Redrive …' }).click()
      await dialog.getByLabel('Arguments', { exact: true }).fill('[{"order": "order-28"}]')
      await confirm(page, 'Redrive')
      await until(async () => (await get('/tasks?name=ship&text=order-28&state=SUCCESS')).tasks.length === 1)

      // A queue that is held is found, and let go on from there.
      await app.broker.pause('later')
      await until(async () => (await get('/queues')).some((known: { paused: boolean }) => known.paused))
      await see(page, `${fleet.url}/sos`, 'later')
      await button(page, 'Resume').click()
      await confirm(page, 'Resume')
      await until(async () => (await app.broker.queues()).every(({ paused }) => !paused))

      // A schedule is held, goes on, and goes.
      await see(page, `${fleet.url}/schedules`, 'stocktaking')
      await button(page, 'Pause').click()
      await until(async () => (await app.schedules.get('stocktaking')).isPaused)
      await button(page, 'Resume').click()
      await until(async () => !(await app.schedules.get('stocktaking')).isPaused)
      await button(page, 'Remove …').click()
      await confirm(page, 'Remove')
      await until(async () => (await app.schedules.list()).length === 0)

      // A pool that scales itself has other bounds; one of children gets new ones.
      const scaling = await startLate(app, { name: 'scaling@here', autoscale: { max: 3, min: 1 } })
      const module = new URL('./pool-app.mjs', import.meta.url).href
      const children = await startLate(app, { name: 'children@here', pool: 'processes', concurrency: 1, module })
      await until(async () => (await get('/workers')).length === 3)
      await open(scaling.name, 'pool')
      await button(page, 'Autoscale …').click()
      await dialog.getByLabel('At most').fill('9')
      await dialog.getByLabel('At least').fill('6')
      await confirm(page, 'Tell it')
      await until(() => scaling.pools[0]?.size === 6)
      const pids = (): readonly number[] => children.pools.flatMap((pool) => [...pool.pids()])
      const [old] = pids()
      await open(children.name, 'pool')
      await button(page, 'Restart pool').click()
      await until(() => pids().length === 1 && pids()[0] !== old)

      // It takes no more from a queue.
      await open(worker.name, 'queues')
      await page.getByRole('row', { name: /^shop/ }).getByRole('button', { name: 'Stop taking' }).click()
      await until(() => !worker.queues.includes('shop'))

      // It is known by then that the pool was restarted.
      await until(async () => (await get('/workers')).some(({ recycled }: Worker) => recycled?.command === 1))
      await open(children.name, 'pool')
      await page.getByText('1 by a restart').waitFor()
      await Promise.all([scaling.stop(), children.stop()])
    }, 120_000)
  })
})
