/** Which call of a waiting crowd is run first, whoever sent it and whoever runs it. */
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports, until } from './site.ts'

describeWith(everything, 'priorities between Python and TypeScript', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport, { maxPriority: 9 })
    })

    /** What Python calls the most urgent, the middle and the least urgent: 0 is first on Redis and last on RabbitMQ. */
    const [urgent, middle, idle] = transport === 'redis' ? [0, 4, 9] : [9, 5, 0]

    it('Python sends, TypeScript runs the most urgent first', async () => {
      for (const priority of [idle, middle, urgent]) {
        await site.python.run(`app.send_task("ts.note", [f"p{given}"], priority=given)`, { given: priority })
      }

      const worker = await site.app.worker({ queues: ['ts'], concurrency: 1, prefetch: 1 })
      onTestFinished(() => worker.stop())

      await until(() => site.lines().length === 3)
      expect(site.lines()).toEqual([`p${urgent}`, `p${middle}`, `p${idle}`])
    })

    it('TypeScript sends, 9 being the most urgent, and Python runs in that order', async () => {
      const seen = site.lines().length
      const write = site.app.remote<[string], string>('py.note')
      for (const priority of [0, 5, 9]) await write.applyAsync([`t${priority}`], { priority })

      const worker = await site.startPythonWorker()
      onTestFinished(() => worker.kill())

      await until(() => site.lines().length === seen + 3)
      expect(site.lines().slice(seen)).toEqual(['t9', 't5', 't0'])
    })
  })
})

describeWith(['redis-server', 'python'], 'calls without a priority', () => {
  it('wait in one line, whoever sent them', async () => {
    const site = await openSite('redis')
    for (let n = 0; n < 3; n++) {
      await site.python.run('send("ts.note", f"py {given}")', { given: n })
      await site.tasks.note.delay(`ts ${n}`)
    }

    await site.app.worker({ queues: ['ts'], concurrency: 1, prefetch: 1 })

    await until(() => site.lines().length === 6)
    expect(site.lines()).toEqual(['py 0', 'ts 0', 'py 1', 'ts 1', 'py 2', 'ts 2'])
  })
})
