/** Bodies in other forms than plain JSON. */
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports, until } from './site.ts'

const args = ['äöü 🥕', 1.5, -7, null, true, { nested: [{ a: [] }] }, 'x'.repeat(5_000)]

describeWith(everything, 'bodies between Python and TypeScript', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport, { app: { acceptContent: ['json', 'msgpack', 'yaml'] } })
      await site.startPythonWorker()
      await site.app.worker({ queues: ['ts'] })
    })

    it.each([
      ['MessagePack', 'serializer="msgpack"'],
      ['YAML', 'serializer="yaml"'],
      ['JSON compressed as gzip', 'compression="gzip"'],
      ['JSON compressed as zlib', 'compression="zlib"'],
      ['MessagePack compressed', 'serializer="msgpack", compression="gzip"'],
    ])('of Python as %s are read here', async (_title, options) => {
      const echoed = await site.python.run(`app.send_task("ts.echo", given, ${options}).get(timeout=10)`, {
        given: args,
      })

      expect(echoed).toEqual(args)
    })

    it.each([
      ['MessagePack', { serializer: 'msgpack' }],
      ['YAML', { serializer: 'yaml' }],
      ['JSON compressed', { compression: 'gzip' }],
      ['MessagePack compressed', { serializer: 'msgpack', compression: 'gzip' }],
    ] as const)('of ours as %s are read by Python', async (_title, options) => {
      const result = await site.app.remote<unknown[], unknown>('py.echo').applyAsync(args, options)

      expect(await result.get({ timeout: '25s' })).toEqual({ args, kwargs: {} })
    })

    it('as pickle are not read, and kept with the dead letters with what to do', async () => {
      const id = await site.python.run<string>('app.send_task("ts.echo", [1], serializer="pickle").id')

      expect(await reasonOf(id)).toContain("task_serializer = 'json'")
    })

    it('compressed in a way that is unknown here are kept with the dead letters', async () => {
      const id = await site.python.run<string>('app.send_task("ts.echo", [1], compression="bzip2").id')

      expect(await reasonOf(id)).toContain('x-bz2')
    })

    async function reasonOf(id: string): Promise<string | undefined> {
      const letter = async () => (await site.app.deadLetters.list()).find(({ message }) => message.headers.id === id)
      await until(async () => (await letter()) !== undefined)
      return (await letter())?.error?.message
    }
  })
})
