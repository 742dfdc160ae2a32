import { systemClock } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { Live } from '../../src/monitor/api/live.ts'
import { hashPassword } from '../../src/monitor/auth/passwords.ts'
import { memoryUrl, until } from '../flow/fixture.ts'
import { monitoring } from './fixture.ts'

interface Heard {
  readonly event: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look at it as they expect it
  readonly data: any
}

/** What a stream says, as it comes. */
function listen(stream: ReadableStream<Uint8Array>): { heard: Heard[]; ended: Promise<void> } {
  const heard: Heard[] = []
  const ended = (async () => {
    let text = ''
    const decoder = new TextDecoder()
    for await (const bytes of stream) {
      text += decoder.decode(bytes, { stream: true })
      const parts = text.split('\n\n')
      text = parts.pop() ?? ''
      for (const part of parts) {
        const [, event, data] = /^event: (\w+)\ndata: (.*)$/s.exec(part) ?? []
        if (event !== undefined) heard.push({ event, data: JSON.parse(data ?? '') })
      }
    }
    // A line that is cut is an end too.
  })().catch(() => undefined)
  return { heard, ended }
}

describe('live events', () => {
  it('tell of tasks, queues, workers and jobs as they change', async () => {
    const { app, url, post } = await monitoring(memoryUrl())
    const stop = new AbortController()
    const answer = await fetch(`${url}/api/v1/live`, { signal: stop.signal })
    const { heard, ended } = listen(answer.body as ReadableStream<Uint8Array>)
    const weigh = app.task('weigh', (grams: number) => grams / 1_000)
    await app.worker({ taskEvents: true })

    const { id } = await weigh.delay(250)
    await until(() =>
      heard.some(
        ({ event, data }) =>
          event === 'tasks' &&
          data.some((task: { id: string; state: string }) => task.id === id && task.state === 'SUCCESS'),
      ),
    )
    const { job } = await post('/tasks/bulk', { action: 'retry', filter: { state: ['SUCCESS'] } })
    await until(() => heard.some(({ event, data }) => event === 'job' && data.id === job.id && data.state === 'done'))
    await until(() => ['overview', 'queues', 'workers'].every((name) => heard.some(({ event }) => event === name)))

    expect(answer.headers.get('content-type')).toBe('text/event-stream')
    expect(answer.headers.get('content-encoding')).toBeNull()
    stop.abort()
    await ended
  })

  it('are only for those who may look', async () => {
    const users = [{ name: 'paul', role: 'viewer', hash: await hashPassword('correct horse') }] as const
    const { url } = await monitoring(memoryUrl(), { users })

    expect((await fetch(`${url}/api/v1/live`)).status).toBe(401)
  })

  it('make room when a reader goes, or only asks whether they are there', async () => {
    const { url } = await monitoring(memoryUrl())

    for (let n = 0; n < 105; n += 1) {
      const stop = new AbortController()
      const { status } = await fetch(`${url}/api/v1/live`, { signal: stop.signal })
      expect(status).toBe(200)
      stop.abort()
      await fetch(`${url}/api/v1/live`, { method: 'HEAD' })
    }
  })

  it('end when the monitor does', async () => {
    const { url, monitor } = await monitoring(memoryUrl())
    const answer = await fetch(`${url}/api/v1/live`)
    const { ended } = listen(answer.body as ReadableStream<Uint8Array>)

    await monitor.close()

    await ended
  })

  it('keep nothing for a reader who is slow, and tell him what he missed', async () => {
    const live = new Live(systemClock)
    const stream = live.open(async () => true) as ReadableStream<Uint8Array>
    const alert = { message: 'x'.repeat(100_000) } as never

    for (let n = 0; n < 50; n += 1) live.tell('alert', alert)
    const { heard } = listen(stream)
    await until(() => heard.length >= 5)
    live.tell('alert', alert)

    await until(() => heard.some(({ event }) => event === 'missed'))
    const kept = heard.filter(({ event }) => event === 'alert').length
    expect(kept).toBeLessThan(10)
    expect(heard.find(({ event }) => event === 'missed')?.data).toEqual({ count: 51 - kept })
    live.stop()
  })

  it('are for so many and no more, and end for who is no longer welcome', async () => {
    let beat: () => void = () => undefined
    const after = (_ms: number, callback: () => void) => {
      beat = callback
      return { cancel: () => undefined }
    }
    const clock = { ...systemClock, after }
    const live = new Live(clock)
    let isWelcome = true
    live.start({ collector: { listen: () => () => undefined } } as never)
    const streams = Array.from({ length: 100 }, () => live.open(async () => isWelcome))

    expect(streams).not.toContain(undefined)
    expect(live.open(async () => true)).toBeUndefined()
    isWelcome = false
    beat()
    await until(() => live.listeners === 0)
    live.stop()
  })
})
