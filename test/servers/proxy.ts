/** A TCP proxy on loopback whose line can be made slow, dead or cut. */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from './ports.ts'

export interface TcpProxy {
  readonly port: number
  /** Clients that are connected now. */
  readonly connections: number
  /** Clients that have ever connected. */
  readonly accepted: number
  /** Forwards nothing more, and closes nothing: a half-open line. New clients are accepted and hear nothing. */
  stall(): void
  /** Forwards again, what was held back first. */
  resume(): void
  /** Resets every connection (RST); new ones work. */
  cut(): void
  /** While true, new clients are reset at once. */
  refuse(isRefusing: boolean): void
  /** What is forwarded from now on comes this much later, in ms, in each direction. */
  delay(ms: number): void
  /** Cuts everything and stops listening. A second call is harmless. */
  close(): Promise<void>
}

/** @param targetPort on 127.0.0.1 */
export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const proxy = new LoopbackProxy(targetPort)
  await proxy.listen()
  return proxy
}

interface Line {
  isStalled: boolean
  delayMs: number
}

/** One direction of one connection: its data in order and then its end, under every delay and stall. */
class Stream {
  readonly #to: Socket
  readonly #line: Line
  /** Null is the end. */
  readonly #held: (Buffer | null)[] = []
  #lastDueMs = 0

  constructor(from: Socket, to: Socket, line: Line) {
    this.#to = to
    this.#line = line
    const hold = (what: Buffer | null): void => {
      this.#held.push(what)
      this.flush()
    }
    from.on('data', hold)
    from.once('close', () => hold(null))
  }

  flush(): void {
    if (this.#line.isStalled) return
    for (const what of this.#held.splice(0)) this.#forward(what)
  }

  #forward(what: Buffer | null): void {
    const nowMs = performance.now()
    const dueMs = Math.max(nowMs + this.#line.delayMs, this.#lastDueMs)
    this.#lastDueMs = dueMs
    if (dueMs <= nowMs) this.#write(what)
    else setTimeout(() => (this.#line.isStalled ? this.#held.push(what) : this.#write(what)), dueMs - nowMs)
  }

  #write(what: Buffer | null): void {
    if (!this.#to.writable) return
    if (what === null) this.#to.end()
    else this.#to.write(what)
  }
}

interface Pair {
  readonly client: Socket
  readonly upstream: Socket
  readonly streams: readonly Stream[]
}

class LoopbackProxy implements TcpProxy {
  port = 0
  accepted = 0
  readonly #line: Line = { isStalled: false, delayMs: 0 }
  readonly #targetPort: number
  readonly #pairs = new Set<Pair>()
  readonly #server: Server
  #isRefusing = false

  constructor(targetPort: number) {
    this.#targetPort = targetPort
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client))
  }

  get connections(): number {
    return [...this.#pairs].filter(({ client }) => !client.destroyed).length
  }

  async listen(): Promise<void> {
    this.port = await freePort()
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.port, '127.0.0.1', resolve)
    })
  }

  stall(): void {
    this.#line.isStalled = true
  }

  resume(): void {
    this.#line.isStalled = false
    for (const { streams } of this.#pairs) for (const stream of streams) stream.flush()
  }

  cut(): void {
    for (const { client, upstream } of this.#pairs) {
      client.resetAndDestroy()
      upstream.resetAndDestroy()
    }
  }

  refuse(isRefusing: boolean): void {
    this.#isRefusing = isRefusing
  }

  delay(ms: number): void {
    this.#line.delayMs = ms
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #accept(client: Socket): void {
    this.accepted += 1
    client.on('error', ignore)
    if (this.#isRefusing) {
      client.resetAndDestroy()
      return
    }
    const upstream = connect({ port: this.#targetPort, host: '127.0.0.1', noDelay: true })
    upstream.on('error', ignore)
    const streams = [new Stream(client, upstream, this.#line), new Stream(upstream, client, this.#line)]
    const pair = { client, upstream, streams }
    this.#pairs.add(pair)
    for (const socket of [client, upstream]) {
      socket.once('close', () => {
        if (client.destroyed && upstream.destroyed) this.#pairs.delete(pair)
      })
    }
  }
}

function ignore(): void {}
