/** A Redis of the benchmark's own: loopback, free port, nothing saved to disk, ended with us. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { nowMs, pause } from './time.ts'

export interface RedisServer {
  readonly port: number
  readonly version: string
  flush(): Promise<void>
  stop(): Promise<void>
}

/** Our end closes the shell's input, by intent or by dying, and the shell then ends the server by its pid. */
const untilInputEnds = 'redis-server "$@" & cat > /dev/null; kill $!; wait'

/** Resolves to undefined when there is no `redis-server` on the PATH. @throws Error when there is, and it does not start */
export async function startRedisServer(directory: string): Promise<RedisServer | undefined> {
  const probe = spawnSync('redis-server', ['--version'], { encoding: 'utf8' })
  if (probe.error !== undefined || probe.status !== 0) return undefined
  const version = /v=(\S+)/.exec(probe.stdout)?.[1] ?? 'unknown'

  const port = await freePort()
  const settings = [
    '--bind',
    '127.0.0.1',
    '--port',
    String(port),
    '--dir',
    directory,
    '--save',
    '',
    '--appendonly',
    'no',
  ]
  const server = spawn('sh', ['-c', untilInputEnds, 'sh', ...settings], { stdio: ['pipe', 'ignore', 'ignore'] })
  await answers(server, port)

  return {
    port,
    version,
    flush: async () => {
      await command(port, 'FLUSHALL')
    },
    async stop() {
      if (server.exitCode !== null || server.signalCode !== null) return
      const exit = once(server, 'exit')
      server.stdin.end()
      await exit
    },
  }
}

async function answers(server: ChildProcess, port: number): Promise<void> {
  const end = nowMs() + 5_000
  for (;;) {
    const reply = await command(port, 'PING').catch(() => '')
    if (reply.startsWith('+PONG')) return
    if (server.exitCode !== null || nowMs() > end) throw new Error('redis-server was started but does not answer')
    await pause(20)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free port on the loopback')
  return address.port
}

/** One inline command, one reply: enough to ask whether it is up and to empty it. */
function command(port: number, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${line}\r\n`))
    socket.once('data', (reply) => {
      socket.destroy()
      resolve(reply.toString())
    })
    socket.once('error', reject)
  })
}
