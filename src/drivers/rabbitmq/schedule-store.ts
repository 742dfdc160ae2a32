/**
 * Schedules on RabbitMQ, which keeps messages only. Who leads holds them all (`schedule-hold.ts`); whoever else wants to
 * look at an entry or to change it asks the holder, or holds them for a moment where nobody does.
 */
import { createHash } from 'node:crypto'
import type { Message } from 'amqplib'
import type { BusMessage } from '../../broker/bus.ts'
import type { Advance, EntryChange, ScheduleLead, ScheduleStore, StoredEntry } from '../../broker/schedule-store.ts'
import { sleep, type Timer } from '../../clock.ts'
import { CeleriacError, LeaseLostError } from '../../errors.ts'
import type { RabbitmqClient } from './client.ts'
import { Connection } from './connection.ts'
import { type HeldChange, ScheduleHold } from './schedule-hold.ts'
import type { Topics } from './topics.ts'

/** The server misses a holder that vanished without a word after twice this time, in s. */
const heartbeatS = 4
/** Waits for an answer, in ms, in turn: nobody answers whose hold was just over, and a busy holder takes a while. */
const answersMs = [200, 400, 1_600] as const
const retryMs = 100
/** So long the schedule is held behind the last use where nobody leads. In ms. */
const momentMs = 250
/** Entries in one answer. */
const answerSize = 5_000

type Question =
  | { readonly list: string }
  | { readonly load: readonly string[] }
  | { readonly write: readonly EntryChange[] }
  /** Somebody is to lead: who does not, and holds it for a moment only, lets go. */
  | { readonly letGo: true }

type Answer =
  | { readonly entries: StoredEntry[] }
  | { readonly refused: string[] }
  | { readonly hasLetGo: boolean }
  | { readonly failed: true }

/** A hold, about which others may ask until it is stopped. */
interface Served {
  readonly hold: ScheduleHold
  readonly stop: () => void
}

export class RabbitmqScheduleStore implements ScheduleStore {
  readonly #client: RabbitmqClient
  readonly #queue: string
  readonly #connection: Connection
  readonly #topics: Topics
  readonly #changed = new Set<string>()
  /** As long as this one leads. */
  #hold: ScheduleHold | undefined
  #moment: (Served & { timer: Timer }) | undefined
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(client: RabbitmqClient, scope: string) {
    const { settings, clock, logger } = client
    this.#client = client
    this.#queue = queueOf(scope)
    const beat = { ...settings, heartbeatS: Math.min(settings.heartbeatS || heartbeatS, heartbeatS) }
    this.#connection = new Connection('schedule', { settings: beat, clock, logger })
    this.#topics = client.topics('celeriac.schedules')
  }

  open(): Promise<void> {
    this.#refuseClosed()
    this.#opening ??= this.#client.open().catch((error) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async *list(): AsyncIterable<StoredEntry[]> {
    this.#refuseClosed()
    if (this.#hold?.isAlive) {
      yield* this.#hold.entries(answerSize)
      return
    }
    for (let behind = ''; ; ) {
      const after = behind
      const page = await this.#ask({ list: after }, async (hold) => ({
        entries: hold.entriesBehind(after, answerSize),
      }))
      const entries = 'entries' in page ? page.entries : []
      yield entries
      if (entries.length < answerSize) return
      behind = entries[entries.length - 1]?.name ?? ''
    }
  }

  async load(names: readonly string[]): Promise<StoredEntry[]> {
    const answer = await this.#ask({ load: names }, async (hold) => ({ entries: entriesOf(hold, names) }))
    return 'entries' in answer ? answer.entries : []
  }

  async write(changes: readonly EntryChange[]): Promise<string[]> {
    const answer = await this.#ask({ write: changes }, async (hold) => ({ refused: await writeTo(hold, changes) }))
    return 'refused' in answer ? answer.refused : []
  }

  async lead(): Promise<ScheduleLead | null> {
    this.#refuseClosed()
    if (this.#hold?.isAlive) return null
    const held = this.#keepMoment() ?? (await this.#takeToLead())
    if (held === undefined) return null
    const { hold, stop } = held
    this.#changed.clear()
    this.#hold = hold
    return {
      renew: () => hold.renew(),
      changes: async () => {
        const names = [...this.#changed]
        this.#changed.clear()
        return names
      },
      advance: (steps) => this.#advance(hold, steps),
      release: async () => {
        if (this.#hold === hold) this.#hold = undefined
        await hold.release()
        stop()
      },
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#hold?.release()
    await this.#endMoment()
    this.#topics.close()
    await this.#connection.close()
    const isOpen = await this.#opening?.then(
      () => true,
      () => false,
    )
    if (isOpen) await this.#client.close()
  }

  async #take(): Promise<ScheduleHold | undefined> {
    const { clock, timeoutMs } = this.#client
    const session = await this.#connection.ready(timeoutMs)
    return ScheduleHold.take({
      session,
      clock,
      queue: this.#queue,
      onReturned: (message) => void this.#publishAgain(message),
    })
  }

  async #takeToLead(): Promise<Served | undefined> {
    const hold = (await this.#take()) ?? (await this.#takeFromMoment())
    return hold === undefined ? undefined : { hold, stop: await this.#serve(hold) }
  }

  /** What is held here for a moment is held from now on: its entries need not come again. */
  #keepMoment(): Served | undefined {
    const moment = this.#moment
    if (!moment?.hold.isAlive) return undefined
    this.#moment = undefined
    moment.timer.cancel()
    return moment
  }

  /** What somebody holds who does not lead. */
  async #takeFromMoment(): Promise<ScheduleHold | undefined> {
    const options = { timeoutMs: answersMs[0], replies: 1 }
    const [answer] = (await this.#topics.request(this.#queue, { letGo: true } satisfies Question, options)) as Answer[]
    return answer !== undefined && 'hasLetGo' in answer && answer.hasLetGo ? this.#take() : undefined
  }

  /** Undefined where it is not held here, or no longer. */
  async #answerHere(
    question: Question,
    answerHere: (hold: ScheduleHold) => Promise<Answer>,
  ): Promise<Answer | undefined> {
    const own = await this.#own()
    if (own === undefined) return undefined
    try {
      const answer = await answerHere(own)
      if ('write' in question && 'refused' in answer) this.#note(question.write, answer.refused)
      return answer
    } catch (error) {
      if (error instanceof LeaseLostError) return undefined
      throw error
    }
  }

  /** Answers others as long as it is held. @returns how to stop */
  #serve(hold: ScheduleHold): Promise<() => void> {
    return this.#topics.subscribe([this.#queue], (message) => void this.#answer(hold, message))
  }

  /** What is held here: because this one leads, or for a moment because nobody does. */
  async #own(): Promise<ScheduleHold | undefined> {
    if (this.#hold?.isAlive) return this.#hold
    if (this.#moment?.hold.isAlive) {
      this.#moment.timer.cancel()
      this.#moment.timer = this.#endSoon()
      return this.#moment.hold
    }
    const hold = await this.#take()
    if (hold === undefined) return undefined
    const stop = await this.#serve(hold)
    this.#moment = { hold, stop, timer: this.#endSoon() }
    return hold
  }

  /** A little later, since whoever asks meanwhile can be answered, and often we are to ask again. */
  #endSoon(): Timer {
    return this.#client.clock.after(momentMs, () => void this.#endMoment())
  }

  async #endMoment(): Promise<void> {
    const moment = this.#moment
    this.#moment = undefined
    moment?.timer.cancel()
    await moment?.hold.release()
    moment?.stop()
  }

  async #advance(hold: ScheduleHold, steps: readonly Advance[]): Promise<string[]> {
    if (!hold.isAlive) throw new LeaseLostError('another beat leads')
    const { outbox } = this.#client
    const changes: HeldChange[] = steps.map((step) => ({ ...step, publish: outbox.encode(step.publish) }))
    await outbox.prepare(changes.flatMap(({ publish }) => publish))
    return hold.change(changes)
  }

  /** The queue was deleted since it was last used. It is made anew, and gets what was for it. */
  async #publishAgain({ fields, properties, content }: Message): Promise<void> {
    const { topology, outbox, publisher, logger } = this.#client
    const queue = fields.routingKey
    try {
      topology.forget(queue)
      const outbound = {
        exchange: '',
        routingKey: queue,
        content,
        queue,
        delay: undefined,
        form: undefined,
        options: { ...properties, headers: properties.headers ?? {}, persistent: true, mandatory: true },
      }
      await outbox.prepare([outbound])
      await publisher.publish([outbound])
    } catch (error) {
      logger.error({ queue, error }, 'what was due could not be sent: its queue was deleted')
    }
  }

  /** The holder's answer, whoever that is. @throws CeleriacError `BROKER_UNAVAILABLE` */
  async #ask(question: Question, answerHere: (hold: ScheduleHold) => Promise<Answer>): Promise<Answer> {
    this.#refuseClosed()
    const { clock, timeoutMs } = this.#client
    const deadline = clock.monotonic() + timeoutMs
    for (let tries = 0; ; tries++) {
      const here = await this.#answerHere(question, answerHere)
      if (here !== undefined) return here
      const waitMs = answersMs[tries % answersMs.length] as number
      const [answer] = (await this.#topics.request(this.#queue, question, {
        timeoutMs: waitMs,
        replies: 1,
      })) as Answer[]
      if (answer !== undefined && !('failed' in answer)) return answer
      if (clock.monotonic() > deadline) {
        throw new CeleriacError('BROKER_UNAVAILABLE', 'the beat that holds the schedule does not answer')
      }
      await sleep(clock, retryMs * (0.5 + Math.random()))
    }
  }

  /** Of somebody who does not hold the schedule. Who does not hold it either is silent. */
  async #answer(hold: ScheduleHold, { payload, reply }: BusMessage): Promise<void> {
    if (reply === undefined || !hold.isAlive) return
    try {
      await reply(await this.#answerTo(hold, payload as Question))
    } catch (error) {
      this.#client.logger.debug({ error }, 'a question about the schedule could not be answered')
      await reply({ failed: true } satisfies Answer).catch(() => undefined)
    }
  }

  async #answerTo(hold: ScheduleHold, question: Question): Promise<Answer> {
    if ('letGo' in question) {
      const isMoment = this.#moment?.hold === hold
      if (isMoment) await this.#endMoment()
      return { hasLetGo: isMoment }
    }
    if ('list' in question) return { entries: hold.entriesBehind(question.list, answerSize) }
    if ('load' in question) return { entries: entriesOf(hold, question.load) }
    const refused = await writeTo(hold, question.write)
    this.#note(question.write, refused)
    return { refused }
  }

  #note(changes: readonly EntryChange[], refused: readonly string[]): void {
    for (const { name } of changes) if (!refused.includes(name)) this.#changed.add(name)
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new CeleriacError('CLOSED', 'the schedules on RabbitMQ are closed')
  }
}

/** A queue's name may have 255 bytes. */
function queueOf(scope: string): string {
  const isShort = Buffer.byteLength(scope) <= 200
  return `celeriac.schedule.${isShort ? scope : createHash('sha256').update(scope).digest('hex')}`
}

function entriesOf(hold: ScheduleHold, names: readonly string[]): StoredEntry[] {
  return names.flatMap((name) => hold.get(name) ?? [])
}

function writeTo(hold: ScheduleHold, changes: readonly EntryChange[]): Promise<string[]> {
  return hold.change(changes.map((change) => ({ ...change, publish: [] })))
}
