/**
 * `npm run screenshots`: the pages of the dashboard as pictures for the docs, of a warehouse that is at work; with names of
 * pages behind it, these alone.
 */
import './node-version.mjs'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { buildIfStale } from './build.mjs'
import { installPackages } from './install.mjs'
import { root, say, script } from './process.mjs'

const images = join(root, 'docs/images')
/** So long the warehouse works before it is looked at: charts want something to show. */
const worksForMs = 100_000
const ordersPerSecond = 12
const asked = process.argv.slice(2)
const nothing = () => undefined
const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing }

await script(async () => {
  await installPackages()
  await buildIfStale()
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-screenshots-'))
  mkdirSync(images, { recursive: true })
  try {
    await takeAll(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

async function takeAll(folder) {
  const { Celeriac, chain, every } = await import('../dist/index.js')
  const { startMonitor } = await import('../dist/monitor/monitor.js')
  const broker = `sqlite://${join(folder, 'warehouse.db')}`
  const app = new Celeriac('warehouse', { broker, results: true, logger: silent })
  const { pick, pack, deliver } = tasksOf(app)
  app.beat({
    stocktaking: { task: 'warehouse.pick', schedule: every('1h'), args: [{ order: 'stocktaking', items: 0 }] },
    'empty the bins': { task: 'warehouse.pack', schedule: '0 4 * * *', args: [{ order: 'bins' }] },
  })
  const monitor = await startMonitor({ app, db: join(folder, 'monitor.db'), port: 0, logger: silent })
  const api = (method, path, body) =>
    fetch(`${monitor.url}/api/v1${path}`, {
      method,
      ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    }).then((response) => response.json())
  await api('post', '/alerts/rules', { name: 'Dead letters', kind: 'dead-letters', threshold: 1, forMs: 0 })
  await api('post', '/alerts/rules', { name: 'Orders wait', kind: 'oldest', target: 'pack*', threshold: 5_000 })
  for (const [queue, concurrency] of Object.entries({ picking: 4, packing: 2, delivering: 8 })) {
    await app.worker({ name: `${queue}@warehouse`, queues: [queue], concurrency, taskEvents: true })
  }
  await app.startBeat()
  say('The warehouse works …')
  const endMs = Date.now() + worksForMs
  let order = 0
  const feeding = setInterval(() => {
    order += 1
    const items = 1 + (order % 5)
    void chain(pick.s({ order: `order-${order}`, items }), pack.s(), deliver.s()).delay()
  }, 1_000 / ordersPerSecond)
  await pause(endMs - Date.now())
  await api('post', '/queues/packing/pause')
  await api('post', '/queues/packing/resume')
  await takePictures(monitor.url, api)
  await takeLogin(folder, app, startMonitor)
  clearInterval(feeding)
  await monitor.close()
  await app.close()
}

function tasksOf(app) {
  const takes = async (ms) => pause(ms * (0.7 + Math.random() * 0.6))
  const pick = app.task('warehouse.pick', { queue: 'picking' }, async ({ order, items }) => {
    await takes(40)
    return { order, items, aisle: order.length }
  })
  const pack = app.task('warehouse.pack', { queue: 'packing' }, async ({ order }) => {
    await takes(155)
    return { order, box: 'medium', weight: 1.25 }
  })
  const deliver = app.task('warehouse.deliver', { queue: 'delivering', maxRetries: 0 }, async ({ order }) => {
    await takes(80)
    if (order.endsWith('99')) throw new RangeError(`no courier goes to the place of ${order}`)
    return `${order} is on its way`
  })
  return { pick, pack, deliver }
}

async function takePictures(url, api) {
  const { chromium } = await import('playwright-core')
  const [task] = (await api('get', '/tasks?name=warehouse.deliver&limit=1&state=SUCCESS')).tasks
  const [group] = await api('get', '/dead-letters/groups')
  const pages = {
    overview: '/',
    pipelines: '/pipelines',
    tasks: '/tasks',
    task: `/tasks/${task.id}`,
    queues: '/queues',
    queue: '/queues/packing',
    workers: '/workers',
    worker: '/workers/packing%40warehouse',
    schedules: '/schedules',
    'dead-letters': `/dead-letters?group=${group.fingerprint}&queue=delivering`,
    alerts: '/alerts',
    broker: '/broker',
    sos: '/sos',
    audit: '/audit',
  }
  const looks = [
    { suffix: '', width: 1_280, colorScheme: 'light', of: Object.keys(pages) },
    { suffix: '-dark', width: 1_280, colorScheme: 'dark', of: ['overview', 'pipelines'] },
    { suffix: '-phone', width: 390, colorScheme: 'light', of: ['overview', 'tasks'] },
  ]
  const browser = await chromium.launch({ executablePath: programPath(), args: ['--no-sandbox'] })
  for (const { suffix, width, colorScheme, of } of looks) {
    const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme })
    for (const name of of) {
      if (asked.length > 0 && !asked.includes(name)) continue
      await page.goto(url + pages[name])
      await page.waitForFunction(() => document.querySelector('main h1') && !/Loading …/.test(document.body.innerText))
      await pause(500)
      await take(page, `${name}${suffix}`)
    }
    await page.close()
  }
  await browser.close()
}

/** What somebody sees who is not known yet. */
async function takeLogin(folder, app, startMonitor) {
  if (asked.length > 0 && !asked.includes('login')) return
  const { chromium } = await import('playwright-core')
  const { hashPassword } = await import('../dist/monitor/auth/passwords.js')
  const users = [{ name: 'vera', role: 'viewer', hash: await hashPassword('correct horse') }]
  const monitor = await startMonitor({ app, db: join(folder, 'login.db'), port: 0, logger: silent, users })
  const browser = await chromium.launch({ executablePath: programPath(), args: ['--no-sandbox'] })
  const page = await browser.newPage({ viewport: { width: 1_280, height: 560 } })
  await page.goto(monitor.url)
  await page.getByLabel('Password').waitFor()
  await take(page, 'login')
  await browser.close()
  await monitor.close()
}

async function take(page, name) {
  await page.screenshot({ path: join(images, `${name}.png`) })
  say(`  docs/images/${name}.png`)
}

function programPath() {
  return process.env.CHROMIUM ?? '/usr/bin/chromium'
}
