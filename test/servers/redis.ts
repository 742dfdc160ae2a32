/** A private redis-server on loopback, in a folder of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Certificate, newCertificate } from './certificate.ts'
import { freePort } from './ports.ts'
import { Program } from './program.ts'

export interface RedisOptions {
  /** Further arguments, e.g. `['--maxmemory', '20mb']`. */
  readonly args?: readonly string[]
  /** @default a free one */
  readonly port?: number
  /** Of the default user. @default none */
  readonly password?: string
  /** Keeps what it accepted over `restart()`, as production does; without, a restart empties it. @default false */
  readonly appendonly?: boolean
  readonly replicaOf?: RedisServer
  /** The port speaks TLS; trust `certificate.ca`. @default false */
  readonly tls?: boolean
}

export interface RedisServer {
  /** Of database 0, with the password. */
  readonly url: string
  readonly port: number
  /** Unix socket of the same server, without TLS. */
  readonly socketPath: string
  readonly certificate: Certificate | undefined
  /** Of the process that runs now, or ran last. */
  readonly pid: number
  /** SIGTERM; `restart()` brings it back. */
  stop(): Promise<void>
  /** SIGKILL; `restart()` brings it back. */
  kill(): Promise<void>
  /** Starts it again on the same port and folder, after `stop()` where it still runs. */
  restart(): Promise<void>
  /** SIGSTOP: connections stay open and nobody answers. */
  freeze(): void
  thaw(): void
  /** Stops it for good, and removes its folder. */
  remove(): Promise<void>
}

const startWithinMs = 30_000

/** Resolves once it answers. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  for (let tries = 1; ; tries++) {
    const port = options.port ?? (await freePort())
    const server = new Redis(port, options)
    try {
      await server.restart()
      return server
    } catch (error) {
      await server.remove()
      // Another program was quicker to take the port.
      const isTaken = String(error).includes('Address already in use')
      if (!isTaken || options.port !== undefined || tries === 5) throw error
    }
  }
}

export interface RedisSentinel {
  readonly port: number
  remove(): Promise<void>
}

/** Watches a master by the name `shop`, and by itself decides that it is dead, after half a second. */
export async function startSentinel(master: RedisServer): Promise<RedisSentinel> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-sentinel-'))
  const config = join(folder, 'sentinel.conf')
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `sentinel monitor shop 127.0.0.1 ${master.port} 1`,
    'sentinel down-after-milliseconds shop 500',
    'sentinel failover-timeout shop 3000',
  ]
  writeFileSync(config, lines.join('\n'))
  const program = new Program({ command: 'redis-server', args: [config, '--sentinel'], cwd: folder })
  const answers = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('close', () => resolve(false))
      socket.end()
    })
  await program.until(answers, startWithinMs)
  return {
    port,
    remove: async () => {
      await program.kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

class Redis implements RedisServer {
  readonly port: number
  readonly url: string
  readonly socketPath: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'celeriac-redis-'))
  readonly #options: RedisOptions
  #certificate: Certificate | undefined
  #program: Program | undefined

  constructor(port: number, options: RedisOptions) {
    this.port = port
    this.#options = options
    this.socketPath = join(this.#folder, 'redis.sock')
    const user = options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`
    this.url = `${options.tls ? 'rediss' : 'redis'}://${user}127.0.0.1:${port}/0`
  }

  get pid(): number {
    return this.#program?.pid ?? 0
  }

  get certificate(): Certificate | undefined {
    return this.#certificate
  }

  async restart(): Promise<void> {
    await this.stop()
    if (this.#options.tls) this.#certificate ??= await newCertificate(this.#folder)
    const program = new Program({ command: 'redis-server', args: this.#args(), cwd: this.#folder })
    this.#program = program
    await program.until(() => this.#answers(), startWithinMs)
  }

  async stop(): Promise<void> {
    await this.#program?.stop()
  }

  async kill(): Promise<void> {
    await this.#program?.kill()
  }

  freeze(): void {
    this.#program?.signal('SIGSTOP')
  }

  thaw(): void {
    this.#program?.signal('SIGCONT')
  }

  async remove(): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #args(): string[] {
    const { args = [], password, appendonly = false, replicaOf } = this.#options
    const certificate = this.#certificate
    return [
      ...['--bind', '127.0.0.1', '--dir', this.#folder, '--unixsocket', this.socketPath],
      ...['--save', '', '--appendonly', appendonly ? 'yes' : 'no', '--daemonize', 'no'],
      ...(certificate === undefined
        ? ['--port', String(this.port)]
        : ['--port', '0', '--tls-port', String(this.port), '--tls-auth-clients', 'no']),
      ...(certificate === undefined
        ? []
        : ['--tls-cert-file', certificate.certFile, '--tls-key-file', certificate.keyFile]),
      ...(certificate === undefined ? [] : ['--tls-ca-cert-file', certificate.certFile]),
      ...(password === undefined ? [] : ['--requirepass', password]),
      ...(replicaOf === undefined ? [] : ['--replicaof', '127.0.0.1', String(replicaOf.port)]),
      ...args,
    ]
  }

  /** By the unix socket, which is the same with and without TLS. It answers before it has loaded its file, with -LOADING. */
  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.socketPath)
      socket.once('connect', () => socket.write('PING\r\n'))
      socket.once('error', () => resolve(false))
      socket.once('data', (data) => {
        socket.destroy()
        resolve(/^(\+PONG|-NOAUTH)/.test(data.toString()))
      })
      socket.once('close', () => resolve(false))
    })
  }
}
