import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { beforeAll, expect, it } from 'vitest'
import { hashPassword } from '../../src/monitor/auth/passwords.ts'
import { buildPackage } from '../e2e/processes.ts'
import { sqliteUrl, until } from '../flow/fixture.ts'
import { describeWith } from '../servers/index.ts'
import { accessibilityProblems, button, confirm, expectedProblems, openPage, see } from './browser.ts'
import { type Fleet, settled, startFleet } from './fleet.ts'

beforeAll(buildPackage, 180_000)

const dark = { scheme: 'dark' } as const
const narrow = { width: 390 }
const looks =
  process.env.CELERIAC_TEST_LONG === undefined
    ? [{}, { ...dark, ...narrow }]
    : [{}, dark, narrow, { ...dark, ...narrow }]

function pagesOf({ worker }: Fleet, { failed, letters }: { failed: string; letters: string }) {
  return {
    '/': 'Overview',
    '/sos': 'SOS',
    '/pipelines': 'pick → pack → ship',
    '/tasks': 'Last heard',
    [`/tasks/${failed}`]: 'no way to order-7',
    '/queues': 'shop',
    '/queues/later': 'first',
    '/workers': worker.name,
    [`/workers/${encodeURIComponent(worker.name)}?tab=config`]: 'Settings',
    '/schedules': 'every hour',
    [`/dead-letters?group=${letters}&queue=shop`]: 'RangeError',
    '/alerts': 'Nothing fires.',
    '/broker': 'What it can do',
    '/audit': 'Nobody has changed anything yet.',
  }
}

it('weighs less than 200 kB on the wire', () => {
  const folder = join(import.meta.dirname, '../../dist/web')
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile())
  const bytes = files.map((file) => gzipSync(readFileSync(join(file.parentPath, file.name))).length)

  expect(bytes.length).toBeGreaterThan(2)
  expect(bytes.reduce((sum, size) => sum + size)).toBeLessThan(200_000)
})

describeWith('chromium', 'the dashboard', () => {
  it('has no page that fails, or that somebody cannot use, in light and dark, wide and narrow', async () => {
    const fleet = await startFleet(sqliteUrl())
    const pages = pagesOf(fleet, await settled(fleet))

    for (const look of looks) {
      const page = await openPage(look)
      for (const [path, text] of Object.entries(pages)) {
        await see(page, fleet.url + path, text)
        expect(await accessibilityProblems(page), path).toEqual([])
        const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
        expect(overflow, `${path} is wider than the window`).toBeLessThanOrEqual(0)
      }
    }
  }, 120_000)

  it('is used by the keyboard alone', async () => {
    const fleet = await startFleet(sqliteUrl())
    await settled(fleet)
    const page = await openPage()
    await see(page, fleet.url, 'Overview')

    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.textContent')).toBe('To the content')
    const queues = page.getByRole('link', { name: 'Queues', exact: true })
    while (!(await queues.evaluate((link) => link === link.ownerDocument.activeElement)))
      await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Queues' }).waitFor()

    const pause = page.getByRole('row', { name: /later/ }).getByRole('button', { name: 'Pause' })
    await pause.focus()
    await page.keyboard.press('Enter')
    await page.getByText('later is held').waitFor()
  })

  it('keeps what is asked for in the address, so that it can be shared and gone back to', async () => {
    const fleet = await startFleet(sqliteUrl())
    await settled(fleet)
    const page = await openPage()
    await see(page, `${fleet.url}/tasks`, 'order-3')

    await page.getByRole('link', { name: 'Failed' }).click()
    await until(async () => (await page.getByRole('row').count()) === 2)
    expect(new URL(page.url()).search).toBe('?state=FAILURE')
    await page.goBack()
    await until(async () => (await page.getByRole('row').count()) > 20)

    await page.getByLabel('Words in arguments, result or error').fill('order-5')
    await until(async () => new URL(page.url()).search === '?text=order-5')
    await until(async () => (await page.getByRole('row').count()) === 4)
    const other = await openPage()
    await other.goto(page.url())
    await until(async () => (await other.getByRole('row').count()) === 4)
  })

  it('counts what an action on many would be done to, before it is done', async () => {
    const fleet = await startFleet(sqliteUrl())
    await settled(fleet)
    const page = await openPage()
    await see(page, `${fleet.url}/tasks?name=pack&state=SUCCESS`, 'Last heard')

    await button(page, 'Retry …').click()
    await page.getByRole('heading', { name: 'Retry 10 tasks?' }).waitFor()
    await confirm(page, 'Retry')

    await page.getByText('retry: 10 of 10 done').waitFor()
    await until(async () => (await fleet.get('/tasks?name=pack&state=SUCCESS')).tasks.length === 20)
  })

  it('alerts whom it is told to, once that was tried', async () => {
    const fleet = await startFleet(sqliteUrl())
    await settled(fleet)
    const page = await openPage()
    await see(page, `${fleet.url}/alerts`, 'Nothing fires.')
    const dialog = page.getByRole('dialog')

    for (const name of ['nobody listens', 'nor here']) {
      await button(page, 'Webhook …').click()
      await dialog.getByLabel('Name').fill(name)
      await dialog.getByLabel('URL').fill('http://127.0.0.1:9/hook')
      await confirm(page, 'Save')
      await page.getByRole('cell', { name }).waitFor()
    }
    await button(page, 'Test').first().click()
    await page
      .getByText(/did not take it/)
      .first()
      .waitFor()

    await button(page, 'New rule …').click()
    await dialog.getByLabel('Name').fill('Given up')
    await dialog.locator('select[name=kind]').selectOption('dead-letters')
    await dialog.getByLabel('Fires from').fill('1')
    await dialog.getByLabel('Must last, in seconds').fill('0')
    for (const name of ['nobody listens', 'nor here']) await dialog.getByLabel(name).check()
    await confirm(page, 'Save')

    await page.getByText('nobody listens, nor here').waitFor()
    await page.getByText('shop: 1 dead letter (from 1 on)').first().waitFor({ timeout: 25_000 })
    expectedProblems(/503/)
  })

  it('asks who somebody is, and lets him do what his role may', async () => {
    const hash = await hashPassword('correct horse')
    const users = [{ name: 'vera', role: 'viewer' as const, hash }]
    const fleet = await startFleet(sqliteUrl(), { users })
    const page = await openPage()

    await page.goto(`${fleet.url}/queues`)
    await page.getByLabel('User').fill('vera')
    await page.getByLabel('Password').fill('wrong')
    await button(page, 'Log in').click()
    await page.getByText('the user or the password is wrong').waitFor()
    await page.getByLabel('Password').fill('correct horse')
    await button(page, 'Log in').click()

    const row = page.getByRole('row', { name: /later/ })
    await row.waitFor()
    expect(new URL(page.url()).pathname).toBe('/queues')
    expect(await row.getByRole('button', { name: 'Pause' }).isDisabled()).toBe(true)
    expect(await row.getByRole('button', { name: 'Pause' }).getAttribute('title')).toContain('you are viewer')
    await button(page, 'Log out').click()
    await page.getByLabel('User').waitFor()
    expectedProblems(/401/)
  })

  it('shows new tasks as they come', async () => {
    const fleet = await startFleet(sqliteUrl())
    await settled(fleet)
    const page = await openPage()
    await see(page, `${fleet.url}/tasks?text=brand-new`, 'No task fits.')

    await fleet.app.remote('pick').delay('brand-new')

    await page
      .getByRole('cell', { name: /brand-new/ })
      .first()
      .waitFor()
  })
})
