/**
 * One connection to the server, from the login to its end. It never comes back: `Connection` makes the next one.
 *
 * AMQP's heartbeats notice a dead peer after two minutes. So a session listens for itself: when nothing was heard for a
 * second it asks for something that costs nothing, and when no answer comes it ends, whatever TCP believes.
 */
import type { Socket } from 'node:net'
import { type Channel, type ChannelModel, type ConfirmChannel, connect } from 'amqplib'
import type { Clock, Timer } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import { withDeadline } from './deadline.ts'
import { connectFailure } from './failures.ts'
import type { Host, RabbitmqSettings } from './settings.ts'

/** How often a session looks whether anything was heard, in ms. */
const lookMs = 500
/** Silent for so long, it asks. In ms. */
const askAfterMs = 1_000
/** And without an answer for so long, it ends. In ms. */
const deadAfterMs = 2_000
/** A goodbye may take so long, in ms. */
const closeTimeoutMs = 2_000

/** An option of Node's sockets that is not in its types: as much as is written at a time, in bytes. */
const writeBuffer: object = { writableHighWaterMark: 256 * 1024 }

export interface SessionListener {
  /** The server takes no publishes from this connection: a memory or disk alarm, with its reason. */
  onBlocked(reason: string): void
  onUnblocked(): void
}

export class Session {
  /** Resolves, with what ended it, once no channel of this session works any more. */
  readonly ended: Promise<Error>
  /** The server's version, e.g. `3.10.8`. */
  readonly serverVersion: string
  /** What the server said of itself when we came. */
  readonly product: string
  readonly facts: Readonly<Record<string, string>>
  readonly #model: ChannelModel
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #probe: Channel
  #watch: Timer | undefined
  #isAlive = true
  #isBlocked = false
  #isGathering = false
  #heardBytes = 0
  #heardAt: number
  #lookedAt: number
  #askedAt: number | undefined

  private constructor(model: ChannelModel, probe: Channel, clock: Clock, listener: SessionListener) {
    this.#model = model
    this.#probe = probe
    probe.on('error', () => undefined)
    this.#socket = socketOf(model)
    this.#clock = clock
    this.#heardAt = clock.monotonic()
    this.#lookedAt = this.#heardAt
    const said = model.connection.serverProperties as Readonly<Record<string, unknown>>
    this.serverVersion = String(said.version ?? '')
    this.product = String(said.product ?? 'RabbitMQ')
    this.facts = Object.fromEntries(
      ['cluster_name', 'platform'].flatMap((name) =>
        typeof said[name] === 'string' ? [[name, said[name] as string]] : [],
      ),
    )
    model.on('blocked', (reason) => {
      this.#isBlocked = true
      listener.onBlocked(reason)
    })
    model.on('unblocked', () => {
      this.#isBlocked = false
      this.#askedAt = undefined
      listener.onUnblocked()
    })
    this.ended = new Promise((resolve) => {
      model.on('close', (error) => {
        this.#isAlive = false
        this.#watch?.cancel()
        resolve(error ?? new Error('the connection was closed'))
      })
    })
    this.#lookLater()
  }

  /** @throws CeleriacError `BROKER_UNAVAILABLE`, `BROKER_AUTH` */
  static async open(
    settings: RabbitmqSettings,
    { host, port }: Host,
    role: string,
    clock: Clock,
    listener: SessionListener,
  ): Promise<Session> {
    const { tls, user, password, vhost, heartbeatS, connectTimeoutMs } = settings
    const connecting = connect(
      {
        protocol: tls === undefined ? 'amqp' : 'amqps',
        hostname: host,
        port,
        username: user,
        password,
        vhost: encodeURIComponent(vhost),
        ...(heartbeatS !== undefined && { heartbeat: heartbeatS }),
      },
      {
        ...tls,
        // Without it every second round trip takes 44 ms, by Nagle's algorithm.
        noDelay: true,
        keepAlive: true,
        timeout: connectTimeoutMs,
        ...writeBuffer,
        clientProperties: { connection_name: `celeriac ${role} ${process.pid}` },
      },
    )
    const model = await withDeadline(clock, connectTimeoutMs, `connecting to ${host}:${port}`, connecting).catch(
      (error) => {
        // A login that succeeds after all must not leave a connection behind.
        connecting.then((late) => late.close()).catch(() => undefined)
        throw error instanceof CeleriacError ? error : connectFailure(error, settings)
      },
    )
    model.on('error', () => undefined)
    const opening = withDeadline(clock, connectTimeoutMs, 'opening a channel', model.createChannel())
    const probe = await opening.catch((error) => {
      socketOf(model).destroy()
      throw error instanceof CeleriacError ? error : connectFailure(error, settings)
    })
    return new Session(model, probe, clock, listener)
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  /** A channel; it ends with its first error. See `watch`. */
  async openChannel(): Promise<Channel> {
    const channel = await this.#model.createChannel()
    channel.on('error', () => undefined)
    return channel
  }

  /** A channel whose publishes are confirmed. */
  async openConfirmChannel(): Promise<ConfirmChannel> {
    const channel = await this.#model.createConfirmChannel()
    channel.on('error', () => undefined)
    return channel
  }

  /** Tells when a channel ends and the connection lives: with the server's reason, or undefined when it was closed here. */
  watch(channel: Channel, onEnd: (failure: Error | undefined) => void): void {
    let failure: Error | undefined
    channel.on('error', (error) => {
      failure = error
    })
    channel.once('close', () => {
      // With the connection its channels end first; only after this turn is it known that it did.
      queueMicrotask(() => {
        if (this.#isAlive) onEnd(failure)
      })
    })
  }

  /**
   * Lets everything that is written in this turn of the event loop leave together: amqplib makes a system call for each
   * frame, which costs more than all else about publishing.
   */
  gather(): void {
    if (this.#isGathering) return
    this.#isGathering = true
    this.#socket.cork()
    // amqplib asks at the next tick for its frames to be written by an immediate; so this one comes behind that.
    process.nextTick(() =>
      setImmediate(() => {
        this.#isGathering = false
        this.#socket.uncork()
      }),
    )
  }

  /** Says goodbye, and waits for the answer, but not for long. */
  async close(): Promise<void> {
    if (!this.#isAlive) return
    await withDeadline(this.#clock, closeTimeoutMs, 'closing', this.#model.close()).catch(() => undefined)
    this.destroy('closed')
  }

  /** Cuts the connection without a word. */
  destroy(reason: string): void {
    if (this.#isAlive) this.#socket.destroy(new Error(reason))
  }

  #lookLater(): void {
    if (this.#isAlive) this.#watch = this.#clock.after(lookMs, () => this.#look())
  }

  #look(): void {
    const now = this.#clock.monotonic()
    const wasHeldUp = now - this.#lookedAt > 2 * lookMs
    this.#lookedAt = now
    const { bytesRead } = this.#socket
    // After a task that kept the event loop, what the server said meanwhile has not been read yet.
    if (bytesRead !== this.#heardBytes || wasHeldUp) {
      this.#heardBytes = bytesRead
      this.#heardAt = now
      this.#askedAt = undefined
    } else if (this.#askedAt !== undefined && now - this.#askedAt >= deadAfterMs && !this.#isBlocked) {
      return this.destroy(`nothing was heard for ${Math.round(now - this.#heardAt)} ms`)
    } else if (this.#askedAt === undefined && now - this.#heardAt >= askAfterMs && !this.#isBlocked) {
      this.#askedAt = now
      this.#ask()
    }
    this.#lookLater()
  }

  /** A setting of a channel nobody uses: answered by the channel itself, without any queue. */
  #ask(): void {
    this.#probe.prefetch(1).catch(() => undefined)
  }
}

/** amqplib keeps its socket to itself, and has no other way to tell how much came, or to cut it. */
function socketOf(model: ChannelModel): Socket {
  return (model.connection as unknown as { stream: Socket }).stream
}
