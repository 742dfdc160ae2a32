import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { describeWith, type Rabbitmq, type RedisServer, rabbitmq, runPython, startProxy, startRedis } from './index.ts'

/** Sends a line and resolves with what comes back. */
function ask(socket: Socket, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once('data', (data) => resolve(String(data)))
    socket.once('error', reject)
    socket.write(`${line}\r\n`)
  })
}

describeWith('redis-server', 'a private Redis', () => {
  let server: RedisServer

  beforeAll(async () => {
    server = await startRedis({ appendonly: true })
  })

  it('keeps what it accepted when it is killed and started again', async () => {
    expect(await ask(connect(server.port, '127.0.0.1'), 'SET kept 1')).toBe('+OK\r\n')
    const { pid } = server

    await server.kill()
    await server.restart()

    expect(server.pid).not.toBe(pid)
    expect(await ask(connect(server.port, '127.0.0.1'), 'GET kept')).toBe('$1\r\n1\r\n')
  })

  it('keeps silent while it is frozen', async () => {
    const socket = connect(server.port, '127.0.0.1')
    await ask(socket, 'PING')
    let answer: string | undefined

    server.freeze()
    const asked = ask(socket, 'PING').then((text) => {
      answer = text
    })
    await vi.waitUntil(() => isStopped(server.pid))
    expect(answer).toBeUndefined()
    server.thaw()

    await asked
    expect(answer).toBe('+PONG\r\n')
  })

  it('can ask for a password, and speak TLS', async () => {
    const { url, certificate } = await startRedis({ password: 'p@ss', tls: true })

    expect(url).toMatch(/^rediss:\/\/:p%40ss@127\.0\.0\.1:\d+\/0$/)
    expect(certificate?.ca).toContain('BEGIN CERTIFICATE')
  })
})

/** Linux: state T. */
async function isStopped(pid: number): Promise<boolean> {
  return /\) T /.test(await readFile(`/proc/${pid}/stat`, 'utf8'))
}

describe('a proxy', () => {
  const echo = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  })

  beforeAll(() => new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve)))
  afterAll(() => new Promise((resolve) => echo.close(resolve)))

  async function connected() {
    const proxy = await startProxy((echo.address() as AddressInfo).port)
    onTestFinished(() => proxy.close())
    const socket = connect(proxy.port, '127.0.0.1')
    await ask(socket, 'hello')
    return { proxy, socket }
  }

  it('holds back what it is given while the line is stalled, and hands it on after', async () => {
    const { proxy, socket } = await connected()

    proxy.stall()
    const answer = ask(socket, 'held')
    const late = connect(proxy.port, '127.0.0.1')
    const lateAnswer = ask(late, 'late')
    await vi.waitUntil(() => proxy.accepted === 2)
    expect([socket.destroyed, late.destroyed]).toEqual([false, false])
    proxy.resume()

    expect(await answer).toBe('held\r\n')
    expect(await lateAnswer).toBe('late\r\n')
  })

  it('resets what is connected, and takes new connections', async () => {
    const { proxy, socket } = await connected()

    const answer = ask(socket, 'lost').catch((error: NodeJS.ErrnoException) => error.code)
    proxy.cut()

    expect(['lost\r\n', 'ECONNRESET']).toContain(await answer)
    await vi.waitUntil(() => socket.destroyed)
    expect(await ask(connect(proxy.port, '127.0.0.1'), 'again')).toBe('again\r\n')
  })

  it('refuses and delays', async () => {
    const { proxy, socket } = await connected()

    proxy.refuse(true)
    await expect(ask(connect(proxy.port, '127.0.0.1'), 'no')).rejects.toThrow('ECONNRESET')
    proxy.delay(50)
    const askedAt = performance.now()

    expect(await ask(socket, 'slow')).toBe('slow\r\n')
    expect(performance.now() - askedAt).toBeGreaterThan(95)
  })
})

describeWith('rabbitmq', 'the RabbitMQ of a run', () => {
  let server: Rabbitmq

  beforeAll(async () => {
    server = await rabbitmq()
  })

  it('gives each caller an empty vhost of its own', async () => {
    const other = await rabbitmq()

    expect(other.vhost).not.toBe(server.vhost)
    expect(await server.api('GET', `/api/queues/${server.vhost}`)).toEqual([])
  })

  it('can be steered with rabbitmqctl', async () => {
    expect(await server.ctl('list_vhosts', 'name')).toContain(server.vhost)
  })
})

describeWith('python', 'a Python script', () => {
  it('takes JSON and gives JSON', async () => {
    const script = 'import json, os; print(json.dumps([*json.loads(os.environ["INPUT"]), 2]))'

    expect(await runPython(script, ['ä', 1])).toEqual(['ä', 1, 2])
  })

  it('says what was wrong', async () => {
    await expect(runPython('raise ValueError("nope")', null)).rejects.toThrow('ValueError: nope')
  })
})
