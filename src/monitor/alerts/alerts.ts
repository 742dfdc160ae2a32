/**
 * Alerts: looks at what the rules look at, and tells what has changed. What is told is the difference between what fires
 * and what was told to fire, once a minute for each rule at most: a thousand queues that fill up at once make one message,
 * and what flaps between two messages makes none.
 */

import type { z } from 'zod'
import { sleep } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import type { Alert, AlertRule } from '../api/shapes.ts'
import { Rounds } from '../collect/rounds.ts'
import type { AlertStore } from '../store/alert-store.ts'
import { type Channel, type Notice, send } from './channels.ts'
import { describe, type Measured, measure, type Rule } from './measure.ts'
import { nextStanding, type Standing } from './standing.ts'

export type AlertView = z.infer<typeof Alert>

export interface AlertsParts extends Measured {
  readonly alerts: AlertStore
  readonly logger: Logger
}

/** By rule, then by target. Kept, so that a restart neither repeats nor forgets. */
interface Kept {
  readonly standings: Record<string, Record<string, Standing>>
  /** What was told to fire, and when something was told last, epoch ms. */
  readonly told: Record<string, { readonly firing: readonly string[]; readonly at: number }>
}

const everyMs = 5_000
const betweenMs = 60_000
/** After each time that a channel did not take it. */
const retryAfterMs = [5_000, 30_000, 120_000]
/** The monitor knows too little right after its start to call something resolved. */
const settleMs = 30_000

export class Alerts {
  readonly #parts: AlertsParts
  readonly #rounds: Rounds
  readonly #listeners = new Set<(alert: AlertView, event: 'firing' | 'resolved') => void>()
  readonly #stopping = new AbortController()
  readonly #standings = new Map<string, Map<string, Standing>>()
  readonly #told = new Map<string, { firing: ReadonlySet<string>; at: number }>()
  readonly #startedAtMs: number
  #sending: Promise<unknown> = Promise.resolve()

  constructor(parts: AlertsParts) {
    const { clock, logger, alerts: store } = parts
    this.#parts = parts
    this.#startedAtMs = clock.monotonic()
    const { standings = {}, told = {} } = store.state<Kept>() ?? {}
    for (const [rule, targets] of Object.entries(standings)) this.#standings.set(rule, new Map(Object.entries(targets)))
    for (const [rule, { firing, at }] of Object.entries(told)) this.#told.set(rule, { firing: new Set(firing), at })
    this.#rounds = new Rounds(
      clock,
      everyMs,
      () => this.look(),
      (error) => logger.error({ error }, 'alerts could not be looked at'),
    )
  }

  start(): void {
    this.#rounds.start()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#rounds.stop()
    await this.#sending
  }

  /** @returns ends it */
  listen(listener: (alert: AlertView, event: 'firing' | 'resolved') => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  rules(): Rule[] {
    return this.#parts.alerts.all<Omit<z.infer<typeof AlertRule>, 'id'>>('alert_rules')
  }

  channels(): Channel[] {
    return this.#parts.alerts.all<Omit<Channel, 'id'>>('alert_channels') as Channel[]
  }

  /** What fires, and what is about to, the longest first. */
  current(): AlertView[] {
    return this.rules()
      .flatMap((rule) =>
        [...(this.#standings.get(rule.id) ?? [])].map(([target, standing]) => viewOf(rule, target, standing)),
      )
      .sort((a, b) => a.since - b.since)
  }

  /** Looks once, as it does every five seconds. */
  look(): void {
    const { clock, alerts: store } = this.#parts
    const nowMs = clock.now()
    const rules = this.rules()
    const before = JSON.stringify(this.#kept())
    for (const id of [...this.#standings.keys()])
      if (!rules.some((rule) => rule.id === id && rule.isEnabled)) this.forget(id)
    for (const rule of rules) if (rule.isEnabled) this.#judge(rule, measure(rule, this.#parts), nowMs)
    for (const rule of rules) if (rule.isEnabled) this.#tell(rule, nowMs)
    const kept = this.#kept()
    if (JSON.stringify(kept) !== before) store.saveState(kept)
  }

  /** Of a rule that was changed or removed: it begins anew, and tells nothing of what was. */
  forget(rule: string): void {
    this.#standings.delete(rule)
    this.#told.delete(rule)
  }

  /** @throws CeleriacError `BROKER_UNAVAILABLE` */
  async test(channel: Channel): Promise<void> {
    const { clock, alerts: store } = this.#parts
    const notice: Notice = {
      ...{ rule: 'A test', kind: 'test', firing: ['this is what an alert looks like'], resolved: [], at: clock.now() },
    }
    try {
      await send(channel, notice)
      this.#noteChannel(channel, null)
      store.note({ rule: '', target: channel.name, event: 'test', message: 'it was taken' })
    } catch (error) {
      this.#noteChannel(channel, (error as Error).message)
      store.note({ rule: '', target: channel.name, event: 'test', message: (error as Error).message })
      throw error
    }
  }

  #judge(rule: Rule, values: ReadonlyMap<string, number>, nowMs: number): void {
    const standings = this.#standings.get(rule.id) ?? new Map<string, Standing>()
    this.#standings.set(rule.id, standings)
    const isSettled = this.#parts.clock.monotonic() - this.#startedAtMs >= settleMs
    for (const target of new Set([...values.keys(), ...standings.keys()])) {
      const before = standings.get(target)
      const value = values.get(target)
      // What is no longer there is over; what was not seen yet since the start may still be.
      if (value === undefined && !isSettled) continue
      const after = nextStanding(before, value ?? 0, rule, nowMs)
      if (after === undefined) standings.delete(target)
      else standings.set(target, after)
      if (before?.state !== 'firing' && after?.state === 'firing') this.#note(rule, target, after, 'firing')
      else if (before?.state === 'firing' && after === undefined) {
        this.#note(rule, target, { ...before, value: value ?? 0 }, 'resolved')
      }
    }
  }

  #note(rule: Rule, target: string, standing: Standing, event: 'firing' | 'resolved'): void {
    const alert = viewOf(rule, target, standing)
    this.#parts.alerts.note({ rule: rule.id, target, event, message: alert.message })
    for (const listener of this.#listeners) listener(alert, event)
  }

  #tell(rule: Rule, nowMs: number): void {
    const standings = this.#standings.get(rule.id) ?? new Map<string, Standing>()
    const firing = new Set([...standings].filter(([, { state }]) => state === 'firing').map(([target]) => target))
    const told = this.#told.get(rule.id) ?? { firing: new Set<string>(), at: 0 }
    const begun = [...firing].filter((target) => !told.firing.has(target))
    const over = [...told.firing].filter((target) => !firing.has(target))
    if (begun.length + over.length === 0 || nowMs - told.at < betweenMs) return
    this.#told.set(rule.id, { firing, at: nowMs })
    const line = (target: string): string => describe(rule, target, standings.get(target)?.value ?? 0)
    const notice = { rule: rule.name, kind: rule.kind, firing: begun.map(line), resolved: over.map(line), at: nowMs }
    const wanted = new Set(rule.channels)
    for (const channel of this.channels()) {
      if (wanted.has(channel.id)) this.#sending = Promise.all([this.#sending, this.#send(channel, rule, notice)])
    }
  }

  /** Some times, later each time. Never throws. */
  async #send(channel: Channel, rule: Rule, notice: Notice): Promise<void> {
    const { alerts: store, clock, logger } = this.#parts
    const what = `${notice.firing.length} firing, ${notice.resolved.length} resolved`
    for (const waitMs of [...retryAfterMs, undefined]) {
      try {
        await send(channel, notice)
        this.#noteChannel(channel, null)
        return store.note({ rule: rule.id, target: channel.name, event: 'sent', message: what })
      } catch (error) {
        const { message } = error as Error
        this.#noteChannel(channel, message)
        if (waitMs === undefined || this.#stopping.signal.aborted) {
          logger.error({ rule: rule.name, channel: channel.name, error }, 'an alert could not be told')
          return store.note({ rule: rule.id, target: channel.name, event: 'not-sent', message: `${what}: ${message}` })
        }
        await sleep(clock, waitMs, this.#stopping.signal)
      }
    }
  }

  /** Unless it was changed or removed meanwhile. */
  #noteChannel(channel: Channel, lastError: string | null): void {
    const { alerts: store, clock } = this.#parts
    const now = this.channels().find(({ id }) => id === channel.id)
    if (now === undefined) return
    const { id, ...data } = now
    store.save('alert_channels', id, { ...data, lastError, ...(lastError === null && { lastSentAt: clock.now() }) })
  }

  #kept(): Kept {
    return {
      standings: Object.fromEntries([...this.#standings].map(([rule, targets]) => [rule, Object.fromEntries(targets)])),
      told: Object.fromEntries([...this.#told].map(([rule, { firing, at }]) => [rule, { firing: [...firing], at }])),
    }
  }
}

function viewOf(rule: Rule, target: string, { state, since, value }: Standing): AlertView {
  const { id, name, kind, threshold } = rule
  return { rule: id, name, kind, target, state, value, threshold, since, message: describe(rule, target, value) }
}
