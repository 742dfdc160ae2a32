/**
 * A private RabbitMQ node on loopback, in a folder of its own: own ports, own cookie, own epmd, so that it meets no other
 * node of this machine. It takes 6 to 9 s to start. https://www.rabbitmq.com/docs/configure
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Certificate, newCertificate } from './certificate.ts'
import { freePorts } from './ports.ts'
import { Program } from './program.ts'
import { type RabbitmqAddress, rabbitmqApi, rabbitmqCtl, rabbitmqPrograms } from './rabbitmq-admin.ts'

export interface RabbitmqOptions {
  /** Further lines of rabbitmq.conf, e.g. `['consumer_timeout = 60000']`. */
  readonly config?: readonly string[]
  /** Listens for TLS too, at `tlsUrl`; trust `certificate.ca`. @default false */
  readonly tls?: boolean
}

export interface RabbitmqServer {
  /** Of its vhost `/`, as guest. */
  readonly url: string
  readonly port: number
  readonly tlsUrl: string | undefined
  readonly certificate: Certificate | undefined
  /** Where the management API listens; guest's name and password. */
  readonly managementUrl: string
  /** Of the Erlang machine that runs now, or ran last. */
  readonly pid: number
  /** What rabbitmqctl needs to find it. */
  readonly address: RabbitmqAddress
  /** Calls the management API. @throws Error for any status but 2xx, and 404 of a DELETE */
  api(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: object): Promise<unknown>
  /** Runs rabbitmqctl; resolves with what it printed. About 0.5 s. */
  ctl(...args: readonly string[]): Promise<string>
  /** SIGTERM; `restart()` brings it back. */
  stop(): Promise<void>
  /** SIGKILL; `restart()` brings it back. */
  kill(): Promise<void>
  /** Starts it again on the same ports and folder, after `stop()` where it still runs. */
  restart(): Promise<void>
  /** SIGSTOP: connections stay open and nobody answers. */
  freeze(): void
  thaw(): void
  /** Ends it for good, epmd too, and removes its folder. */
  remove(): Promise<void>
}

const startWithinMs = 90_000

/** Resolves once it serves AMQP and its management API. */
export async function startRabbitmqNode(options: RabbitmqOptions = {}): Promise<RabbitmqServer> {
  const [port, tlsPort, management, distribution, epmd] = (await freePorts(5)) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const node = new RabbitmqNode({ port, tlsPort, management, distribution, epmd }, options)
  try {
    await node.restart()
    return node
  } catch (error) {
    await node.remove()
    throw error
  }
}

interface Ports {
  readonly port: number
  readonly tlsPort: number
  readonly management: number
  readonly distribution: number
  readonly epmd: number
}

class RabbitmqNode implements RabbitmqServer {
  readonly port: number
  readonly url: string
  readonly tlsUrl: string | undefined
  readonly managementUrl: string
  readonly address: RabbitmqAddress
  readonly #folder = mkdtempSync(join(tmpdir(), 'celeriac-rabbitmq-'))
  readonly #ports: Ports
  readonly #options: RabbitmqOptions
  #certificate: Certificate | undefined
  #program: Program | undefined
  #epmd: Program | undefined
  #isToRun = false

  constructor(ports: Ports, options: RabbitmqOptions) {
    this.#ports = ports
    this.#options = options
    this.port = ports.port
    this.url = `amqp://guest:guest@127.0.0.1:${ports.port}/%2F`
    this.tlsUrl = options.tls ? `amqps://guest:guest@127.0.0.1:${ports.tlsPort}/%2F` : undefined
    this.managementUrl = `http://127.0.0.1:${ports.management}`
    const home = join(this.#folder, 'home')
    mkdirSync(home)
    this.address = {
      managementUrl: this.managementUrl,
      user: 'guest',
      password: 'guest',
      ctlEnv: {
        HOME: home,
        RABBITMQ_NODENAME: `celeriac${ports.port}@localhost`,
        ERL_EPMD_PORT: String(ports.epmd),
        // Neither the machine's own settings nor those of another node.
        RABBITMQ_CONF_ENV_FILE: join(this.#folder, 'rabbitmq-env.conf'),
      },
    }
    writeFileSync(join(this.#folder, 'rabbitmq-env.conf'), '')
    writeFileSync(join(this.#folder, 'enabled_plugins'), '[rabbitmq_management].\n')
  }

  get pid(): number {
    return this.#program?.pid ?? 0
  }

  get certificate(): Certificate | undefined {
    return this.#certificate
  }

  api(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: object): Promise<unknown> {
    return rabbitmqApi(this.address, method, path, body)
  }

  ctl(...args: readonly string[]): Promise<string> {
    return rabbitmqCtl(this.address, args)
  }

  async restart(): Promise<void> {
    await this.stop()
    if (this.#options.tls) this.#certificate ??= await newCertificate(this.#folder)
    writeFileSync(join(this.#folder, 'rabbitmq.conf'), this.#config())
    await this.#startEpmd()
    const program = new Program({
      command: join(rabbitmqPrograms, 'rabbitmq-server'),
      args: [],
      cwd: this.#folder,
      env: this.#env(),
    })
    this.#program = program
    this.#isToRun = true
    await program.until(() => this.#serves(), startWithinMs)
    void program.ended.then((how) => {
      if (this.#isToRun) process.stderr.write(`the RabbitMQ node ended by itself (${how}):\n${program.said}\n`)
    })
  }

  async stop(): Promise<void> {
    this.#isToRun = false
    await this.#program?.stop(30_000)
  }

  async kill(): Promise<void> {
    this.#isToRun = false
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
    await this.#epmd?.kill()
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }

  /** Erlang's name service, in the foreground: a node that finds none starts one that outlives it. */
  async #startEpmd(): Promise<void> {
    if (this.#epmd !== undefined && !this.#epmd.hasEnded) return
    const { epmd: port } = this.#ports
    const epmd = new Program({ command: 'epmd', args: ['-port', String(port), '-address', '127.0.0.1'] })
    this.#epmd = epmd
    await epmd.until(() => opens(port), 10_000)
  }

  #config(): string {
    const { port, tlsPort, management } = this.#ports
    const certificate = this.#certificate
    const lines = [
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      'management.tcp.ip = 127.0.0.1',
      `management.tcp.port = ${management}`,
      'disk_free_limit.absolute = 200MB',
      'vm_memory_high_watermark.absolute = 2GB',
      'log.file.level = warning',
      ...(certificate === undefined
        ? []
        : [
            `listeners.ssl.1 = 127.0.0.1:${tlsPort}`,
            `ssl_options.certfile = ${certificate.certFile}`,
            `ssl_options.keyfile = ${certificate.keyFile}`,
            'ssl_options.verify = verify_none',
          ]),
      ...(this.#options.config ?? []),
    ]
    return `${lines.join('\n')}\n`
  }

  #env(): Record<string, string> {
    const inFolder = (name: string): string => join(this.#folder, name)
    return {
      ...this.address.ctlEnv,
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_DIST_PORT: String(this.#ports.distribution),
      RABBITMQ_MNESIA_BASE: inFolder('mnesia'),
      RABBITMQ_LOG_BASE: inFolder('log'),
      RABBITMQ_CONFIG_FILE: inFolder('rabbitmq.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: inFolder('enabled_plugins'),
      RABBITMQ_PID_FILE: inFolder('pid'),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
      // The script then becomes the Erlang machine, so that our child's pid is the machine's own.
      RABBITMQ_ALLOW_INPUT: 'yes',
      RABBITMQ_SERVER_START_ARGS: '-noinput',
    }
  }

  async #serves(): Promise<boolean> {
    if (!(await speaksAmqp(this.port))) return false
    return this.api('GET', '/api/vhosts/%2F').then(
      () => true,
      () => false,
    )
  }
}

/** Whether it answers the protocol's header with a method frame (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf). */
function speaksAmqp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('AMQP\x00\x00\x09\x01'))
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
    socket.once('data', (data) => {
      resolve(data[0] === 1)
      socket.destroy()
    })
  })
}

function opens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
