import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { OutgoingMessage } from '../../src/broker/broker.ts'
import type { MemoryConsumer } from '../../src/drivers/memory/consumer.ts'
import type { QueueReport } from '../../src/send/migration-report.ts'
import { rejection } from './fixture.ts'
import { lapseMs, leaseMs, message, Process, Site } from './migration-site.ts'

describe('a migration', () => {
  it('moves what is ready in its order, and what is delayed with the rest of its delay', async () => {
    const site = new Site()
    await site.source.publish([
      message('q', 'first'),
      message('q', 'second'),
      message('q', 'urgent', { properties: { contentType: 'text/plain', contentEncoding: 'utf-8', priority: 9 } }),
      message('q', 'later', { delayMs: 60_000 }),
      message('q', 'sooner', { delayMs: 30_000 }),
    ])
    await site.clock.advance(10_000)

    const reports = await site.migrate(['q'])

    expect(reports).toMatchObject([{ moved: 5, delayed: 2, settled: 0, refusedCount: 0, left: 0, running: 0 }])
    expect(await site.source.depth('q')).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
    const moved = await site.drain('target', 'q')
    expect(moved.map(({ body, priority }) => [body, priority])).toEqual([
      ['urgent', 9],
      ['first', undefined],
      ['second', undefined],
      ['sooner', undefined],
      ['later', undefined],
    ])
    const delays = moved.map(({ delayMs }) => delayMs).filter((delayMs) => delayMs > 0)
    expect(delays.map((delayMs) => Math.ceil((delayMs + 1) / 1_000))).toEqual([20, 50])
    await site.expectNoMarkers()
  })

  it('keeps headers, properties and bodies as they are', async () => {
    const site = new Site()
    const headers = { id: 'a', task: 't', celeriac: { sent: 5 } }
    const properties = {
      contentType: 'x',
      contentEncoding: 'binary',
      correlationId: 'a',
      replyTo: 'r',
      expirationMs: 9,
    }
    const body = new Uint8Array([0, 255, 1])
    await site.source.publish([{ queue: 'q', headers, properties, body }])

    await site.migrate(['q'])

    const [moved] = await site.target.peek('q', 1)
    expect(moved).toMatchObject({ headers, properties, body })
  })

  it('leaves what is on loan to a worker, and counts it', async () => {
    const site = new Site()
    await site.source.publish([message('q', 'taken'), message('q', 'free')])
    const worker = await site.source.consume(['q'])
    await worker.fetch(1)

    const reports = await site.migrate(['q'])

    expect(reports).toMatchObject([{ moved: 1, left: 0, running: 1 }])
    expect(await site.drain('target', 'q')).toMatchObject([{ body: 'free' }])
  })

  it('waits for what is on loan to a consumer that is dead and still listed', async () => {
    const site = new Site()
    await site.source.publish([message('q', 'taken'), message('q', 'free')])
    const killed = (await site.source.consume(['q'], { leaseMs })) as MemoryConsumer
    await killed.fetch(1)
    killed.abandon()

    const reports = await site.migrate(['q'])

    expect(reports).toMatchObject([{ moved: 2, left: 0, running: 0 }])
    expect((await site.drain('target', 'q')).map(({ body }) => body)).toEqual(['free', 'taken'])
  })

  it('stops after a batch when it is told to, and goes on in the next run', async () => {
    const site = new Site()
    await site.source.publish(['1', '2', '3', '4', '5'].map((body) => message('q', body)))
    const stop = new AbortController()

    const stopped = await site.migrate(['q'], { batchSize: 2, signal: stop.signal, onProgress: () => stop.abort() })
    const resumed = await site.migrate(['q'])

    expect(stopped).toMatchObject([{ moved: 2, left: 3 }])
    expect(resumed).toMatchObject([{ moved: 3, settled: 0, left: 0 }])
    expect((await site.drain('target', 'q')).map(({ body }) => body)).toEqual(['1', '2', '3', '4', '5'])
    await site.expectNoMarkers()
  })

  it('refuses to start while another one writes to the same target', async () => {
    const site = new Site()
    const first = site.migration(new Process())
    await first.open()

    const error = await rejection(site.migrate(['q']))
    await first.close()

    expect(error).toMatchObject({ code: 'MIGRATION_BUSY' })
  })

  it('refuses two addresses of one broker', async () => {
    const site = new Site()

    const error = await rejection(site.migrate(['q'], { target: site.connect('source') }))

    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('same broker') })
    expect(await site.source.depth('celeriac.migration')).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
  })
})

describe('a message that the target cannot take', () => {
  it('stays at the source when it is too large, and the others of its batch go', async () => {
    const site = new Site()
    const large = message('q', 'x'.repeat(2_000), { headers: { id: 'large' } })
    await site.source.publish([message('q', 'a'), large, message('q', 'b')])

    const reports = await site.migrate(['q'], {
      twistTarget: ({ capabilities }) => ({ capabilities: { ...capabilities, maxMessageBytes: 1_000 } }),
    })

    expect(reports).toMatchObject([
      {
        moved: 2,
        left: 1,
        refusedCount: 1,
        refused: [{ id: 'large', reason: expect.stringMatching(/2\d\d\d bytes/) }],
      },
    ])
    expect(await site.drain('source', 'q')).toMatchObject([{ body: large.body }])
    expect((await site.drain('target', 'q')).map(({ body }) => body)).toEqual(['a', 'b'])
  })

  it('is found by halves when only the target can tell', async () => {
    const site = new Site()
    await site.source.publish(['1', '2', '3', '4', '5', '6', '7'].map((body) => message('q', body)))
    const { CeleriacError } = await import('celeriac')

    const reports = await site.migrate(['q'], {
      twistTarget: (broker) => {
        const publish = broker.publish.bind(broker)
        return {
          publish: async (messages, options) => {
            if ([...messages].some(({ body }) => body === '5')) throw new CeleriacError('PAYLOAD_INVALID', 'no fives')
            return publish(messages, options)
          },
        }
      },
    })

    expect(reports).toMatchObject([{ moved: 6, left: 1, refused: [{ reason: 'no fives' }] }])
    expect((await site.drain('target', 'q')).map(({ body }) => body)).toEqual(['1', '2', '3', '4', '6', '7'])
    await site.expectNoMarkers()
  })

  it('stays when its delay is too long, unless it says itself when it is due', async () => {
    const site = new Site()
    const eta = new Date(site.clock.now() + 90_000).toISOString()
    await site.source.publish([
      message('q', 'far', { delayMs: 90_000 }),
      message('q', 'far with its time', { delayMs: 90_000, headers: { eta } }),
      message('q', 'near', { delayMs: 20_000 }),
    ])

    const reports = await site.migrate(['q'], {
      twistTarget: ({ capabilities }) => ({ capabilities: { ...capabilities, maxDelayMs: 60_000 } }),
    })

    expect(reports).toMatchObject([{ moved: 2, delayed: 2, left: 1, refusedCount: 1 }])
    const moved = await site.drain('target', 'q')
    expect(moved.map(({ body }) => body)).toEqual(['near', 'far with its time'])
    expect(moved[1]?.delayMs).toBeLessThanOrEqual(60_000)
    expect(await site.drain('source', 'q')).toMatchObject([{ body: 'far', delayMs: expect.any(Number) }])
  })
})

describe('a migration that loses its lease', () => {
  it('after it has published takes the messages off the source when they come back', async () => {
    const site = new Site()
    await site.source.publish(['1', '2', '3'].map((body) => message('q', body)))
    const process = new Process()
    let isLost = false

    const reports = await site.migrate(
      ['q'],
      {
        twistTarget: (broker) => {
          const publish = broker.publish.bind(broker)
          return {
            publish: async (messages, options) => {
              await publish(messages, options)
              if ([...messages].length > 1 && !isLost) await loseLease(site, process)
              isLost ||= [...messages].length > 1
            },
          }
        },
      },
      process,
    )

    expect(reports).toMatchObject([{ moved: 3, settled: 3, left: 0 }])
    expect((await site.drain('target', 'q')).map(({ body }) => body)).toEqual(['1', '2', '3'])
    await site.expectNoMarkers()
  })

  it('after acknowledgements that the source has not heard takes the messages off it when they come back', async () => {
    const site = new Site()
    await site.source.publish(['1', '2', '3', '4', '5'].map((id) => message('q', id, { headers: { id } })))
    const process = new Process()
    let batches = 0

    const reports = await site.migrate(
      ['q'],
      {
        isPushed: true,
        batchSize: 2,
        twistTarget: (broker) => {
          const publish = broker.publish.bind(broker)
          return {
            publish: async (messages) => {
              if ([...messages].length > 1) batches += 1
              // The first batch is acknowledged by then, as far as this process knows.
              if (batches === 2) await loseLease(site, process)
              await publish(messages)
            },
          }
        },
      },
      process,
    )

    expect(reports).toMatchObject([{ left: 0, running: 0 }])
    expect((await site.drain('target', 'q')).map(({ body }) => body)).toEqual(['1', '2', '3', '4', '5'])
    expect(await site.source.depth('q')).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
    await site.expectNoMarkers()
  })

  it('before it has published leaves the messages to whoever has them now', async () => {
    const site = new Site()
    await site.source.publish([message('q', 'once')])
    const process = new Process()
    const worker = await site.source.consume(['q'])
    let isLost = false
    const target = site.connect('target')
    const consume = target.consume.bind(target)

    const reports = await site.migrate(
      ['q'],
      {
        target: Object.assign(target, {
          consume: async (...args: Parameters<typeof consume>) => {
            const consumer = await consume(...args)
            const fetch = consumer.fetch.bind(consumer)
            return Object.assign(consumer, {
              // The first look at the markers after a batch was fetched: that is where this process stands still.
              fetch: async (...how: Parameters<typeof fetch>) => {
                const isHeld = (await site.source.depth('q')).inFlight > 0
                if (isHeld && !isLost) {
                  isLost = true
                  await loseLease(site, process)
                  expect(await worker.fetch(1)).toHaveLength(1)
                }
                return fetch(...how)
              },
            })
          },
        }),
      },
      process,
    )

    expect(isLost).toBe(true)
    expect(reports).toMatchObject([{ moved: 0, running: 1 }])
    expect(await site.drain('target', 'q')).toEqual([])
  })
})

/** The process was stopped for longer than its lease: on the source it consumes anew from now on. */
async function loseLease(site: Site, process: Process): Promise<void> {
  for (const held of process.consumers.filter(({ name }) => name.startsWith('source'))) {
    held.inner.abandon()
    const options = { leaseMs, delayed: held.name.endsWith('delayed') }
    held.inner = (await site.source.consume(['q'], options)) as typeof held.inner
  }
  await site.clock.advance(lapseMs)
}

/** Twins among them, alike in every byte. */
const mixed: readonly OutgoingMessage[] = [
  message('q', 'a', { headers: { id: 'a' } }),
  message('q', 'twin'),
  message('q', 'twin'),
  message('q', 'b', { headers: { id: 'b' } }),
  message('q', 'twin'),
  message('q', 'c', { delayMs: 3_600_000 }),
  message('q', 'late twin', { delayMs: 3_600_000 }),
  message('q', 'late twin', { delayMs: 3_600_000 }),
]

describe('a migration that is killed', () => {
  it('between any two steps is completed by the next one, with nothing lost, doubled or out of order', async () => {
    let steps = Number.POSITIVE_INFINITY
    for (let killAt = 0; killAt < steps; killAt += 0.5) {
      const site = new Site()
      await site.source.publish(mixed)
      const process = new Process(killAt)

      const end = await site.migrate(['q'], { batchSize: 2 }, process)
      if (end !== 'killed') steps = process.steps.length
      await site.migrate(['q'], { batchSize: 2 })

      const about = `killed at ${killAt}, ${process.steps.at(-1)}`
      expect(
        (await site.drain('target', 'q')).map(({ body }) => body),
        about,
      ).toEqual(mixed.map(({ body }) => body))
      expect(await site.source.depth('q'), about).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
      await site.expectNoMarkers()
    }
    expect(steps).toBeGreaterThan(40)
  })

  it('between any two steps loses nothing of a source that confirms no acknowledgement', async () => {
    const messages = ['1', '2', '3', '4', '5', '6', '7'].map((id) =>
      message('q', id, { headers: { id }, ...(id > '5' && { delayMs: 3_600_000 }) }),
    )
    let steps = Number.POSITIVE_INFINITY
    for (let killAt = 0; killAt < steps; killAt += 0.5) {
      const site = new Site()
      await site.source.publish(messages)
      const process = new Process(killAt)

      const end = await site.migrate(['q'], { batchSize: 2, isPushed: true }, process)
      if (end !== 'killed') steps = process.steps.length
      await site.migrate(['q'], { batchSize: 2, isPushed: true })

      const about = `killed at ${killAt}, ${process.steps.at(-1)}`
      expect((await site.drain('target', 'q')).map(({ body }) => body).sort(), about).toEqual(
        messages.map(({ body }) => body),
      )
      expect(await site.source.depth('q'), about).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
      await site.expectNoMarkers()
    }
    expect(steps).toBeGreaterThan(40)
  })

  it('again and again, at any points, moves every message once', { timeout: 60_000 }, async () => {
    const anyMessage = fc
      .record({
        queue: fc.constantFrom('q', 'q.dead'),

        isLate: fc.boolean(),
      })
      .map(({ queue, isLate }) => ({ queue, ...(isLate && { delayMs: 86_400_000 }) }))
    const anyKills = fc.array(fc.record({ at: fc.integer({ min: 0, max: 160 }), isCut: fc.boolean() }), {
      maxLength: 5,
    })

    await fc.assert(
      fc.asyncProperty(
        fc.array(anyMessage, { maxLength: 25 }),
        fc.integer({ min: 1, max: 8 }),
        anyKills,
        async (chosen, batchSize, kills) => {
          const messages = chosen.map(({ queue, ...delay }, index) => message(queue, String(index), delay))
          const site = new Site()
          await site.source.publish(messages)

          for (const { at, isCut } of kills) {
            await site.migrate(['q', 'q.dead'], { batchSize }, new Process(isCut ? at + 0.5 : at))
          }
          await site.migrate(['q', 'q.dead'], { batchSize })

          for (const queue of ['q', 'q.dead']) {
            const sent = messages.filter((sentMessage) => sentMessage.queue === queue).map(({ body }) => body)
            const moved = (await site.drain('target', queue)).map(({ body }) => body)
            expect(moved.sort()).toEqual(sent.sort())
            expect(await site.source.depth(queue)).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
          }
          await site.expectNoMarkers()
        },
      ),
      { numRuns: 150 },
    )
  })

  it('knows a message that its source doubles when a consumer is lost, to the end of the queue', async () => {
    const site = new Site()
    const messages = ['1', '2', '3', '4', '5', '6'].map((id) => message('q', id, { headers: { id } }))
    await site.source.publish(messages)
    const options = { isPushed: true, batchSize: 2 }
    const killed = new Process(stepOf(await stepsOf(), 'target publish', 2))
    expect(await site.migrate(['q'], options, killed)).toBe('killed')
    await site.source.publish(messages.slice(0, 2))
    const stop = new AbortController()

    await site.migrate(['q'], { ...options, signal: stop.signal, onProgress: () => stop.abort() })
    await site.migrate(['q'], options)

    expect((await site.drain('target', 'q')).map(({ body }) => body)).toEqual(['1', '2', '3', '4', '5', '6'])
    expect(await site.source.depth('q')).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
    await site.expectNoMarkers()
  })

  it('moves a message once that its source has doubled within one batch', async () => {
    const site = new Site()
    const doubled = message('q', '1', { headers: { id: '1' } })
    await site.source.publish([doubled, doubled, message('q', '2', { headers: { id: '2' } })])
    const lost = (await site.source.consume(['q'], { leaseMs })) as MemoryConsumer
    await lost.fetch(2)
    lost.abandon()
    await site.clock.advance(lapseMs)

    const reports = await site.migrate(['q'], { isPushed: true })

    expect(reports).toMatchObject([{ moved: 2, settled: 1, left: 0 }])
    expect((await site.drain('target', 'q')).map(({ body }) => body)).toEqual(['1', '2'])
    await site.expectNoMarkers()
  })

  it('leaves its marker in force while a worker of the source has one of its messages', async () => {
    const site = new Site()
    await site.source.publish([message('q', 'a'), message('q', 'b')])
    const process = new Process()
    const killed = new Process(stepOf(await stepsOf(), 'target publish', 2))
    expect(await site.migrate(['q'], {}, killed)).toBe('killed')
    await site.clock.advance(lapseMs)
    const worker = await site.source.consume(['q'])
    const [taken] = await worker.fetch(1)

    const first = (await site.migrate(['q'], {}, process)) as QueueReport[]
    await taken?.release()
    const second = await site.migrate(['q'])

    expect(first).toMatchObject([{ moved: 0, settled: 1, running: 1 }])
    expect(second).toMatchObject([{ moved: 0, settled: 1, running: 0 }])
    expect((await site.drain('target', 'q')).map(({ body }) => body)).toEqual(['a', 'b'])
    await site.expectNoMarkers()
  })
})

/** The steps of a migration of two messages. */
async function stepsOf(): Promise<readonly string[]> {
  const site = new Site()
  const process = new Process()
  await site.source.publish([message('q', 'a'), message('q', 'b')])
  await site.migrate(['q'], {}, process)
  return process.steps
}

/** The number of the step that is called so for the nth time. */
function stepOf(steps: readonly string[], name: string, nth: number): number {
  const at = steps.flatMap((step, index) => (step === name ? [index + 1] : []))
  return at[nth - 1] ?? expect.fail(`no ${nth}th ${name} in ${steps.join(', ')}`)
}
