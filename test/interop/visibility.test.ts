/** Kombu's visibility timeout on Redis: what Python takes back from whom, and when. */
import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'
import { describeWith } from '../servers/index.ts'
import { openSite, type Site, until } from './site.ts'

const visibilityS = 1

/** A message that a Python worker has taken, and died with, longer ago than the timeout. */
async function loseInPython(site: Site, text: string): Promise<void> {
  const redis = new Redis(site.url)
  await site.python.run('send("py.note", given).id', { given: text })
  const message = JSON.parse((await redis.rpop('python')) ?? 'null')
  const tag = message.properties.delivery_tag
  await redis.hset('unacked', tag, JSON.stringify([message, '', 'python']))
  await redis.zadd('unacked_index', Date.now() / 1_000 - 2 * visibilityS, tag)
  redis.disconnect()
}

describeWith(['redis-server', 'python'], 'the visibility timeout of Python', () => {
  it('leaves alone what a worker of ours has, however long it takes', { timeout: 40_000 }, async () => {
    const site = await openSite('redis', { visibilityS })
    const worker = await site.app.worker({ queues: ['both'] })
    onTestFinished(() => worker.stop())
    const gate = site.gate()
    const { id } = await site.tasks.hold.delay(gate.path)
    await until(() => site.lines().includes(`start ts ${id}`))
    const startedAt = Date.now()
    await until(() => Date.now() > startedAt + 2 * visibilityS * 1_000)

    // A Python worker looks for lost messages when it starts. That it did is told by one that is really lost.
    await loseInPython(site, 'found')
    await site.startPythonWorker({ queues: ['python', 'both'] })
    await until(() => site.lines().includes('found'), 30_000)
    gate.open()

    await until(() => site.lines().includes(`end ts ${id}`))
    expect(site.lines()).toEqual([`start ts ${id}`, 'found', `end ts ${id}`])
  })

  it('is kept by ours too: what a dead Python worker had comes back', { timeout: 40_000 }, async () => {
    const site = await openSite('redis', { visibilityS })
    await loseInPython(site, 'found')

    await site.app.worker({ queues: ['ts'] })

    await until(async () => (await site.waiting('python')).ready === 1, 30_000)
  })
})
