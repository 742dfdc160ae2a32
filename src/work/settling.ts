/** Settles what has ended, and goes on trying until it holds: a full disk must not cost finished work. */
import { type Clock, sleep } from '../clock.ts'
import { CeleriacError, LeaseLostError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Attempt } from './attempt.ts'
import type { Outcome } from './outcome.ts'
import { pauseMs } from './pause.ts'
import { keepsResult, type Settled, type SettleParts, settle, stateRecord } from './settle.ts'

export interface SettlingParts extends SettleParts {
  readonly clock: Clock
  readonly logger: Logger
}

export class Settling {
  readonly #parts: SettlingParts
  /** Outcomes and states on their way to the store, and who waits until there are none. */
  #underway = 0
  #isOver = false
  #onIdle: () => void = () => undefined

  constructor(parts: SettlingParts) {
    this.#parts = parts
  }

  settle(settled: Settled, outcome: Outcome): void {
    this.#log(settled, outcome)
    this.#underway += 1
    settle(settled, outcome, this.#parts).then(this.#oneDone, (error) => this.#settleAgain(settled, outcome, error))
  }

  async saveState(attempt: Attempt, state: string, meta: unknown): Promise<void> {
    const { results } = this.#parts
    if (results === undefined || !keepsResult(attempt, results)) return
    await results.save([stateRecord(attempt, state, meta, this.#parts)])
  }

  /** A state that cannot be stored is missed, not waited for: the outcome will say more. */
  saveStarted(attempt: Attempt, pid: number): void {
    const { worker, logger } = this.#parts
    this.#underway += 1
    this.saveState(attempt, 'STARTED', { hostname: worker, pid })
      .catch((error) => logger.warn({ worker, error }, 'a state could not be stored'))
      .finally(this.#oneDone)
  }

  /** Until everything is stored, or the time is over. What is not by then is not tried again. */
  async end(timeoutMs: number): Promise<void> {
    if (this.#underway > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs)
        this.#onIdle = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    this.#isOver = true
  }

  readonly #oneDone = (): void => {
    this.#underway -= 1
    if (this.#underway === 0) this.#onIdle()
  }

  /**
   * Tries until the outcome is held, the lease is lost, or the worker ends. What no repetition can mend becomes a
   * failure, and is settled as that.
   */
  async #settleAgain(settled: Settled, outcome: Outcome, firstError: unknown): Promise<void> {
    const { clock, logger, worker } = this.#parts
    const fields = { worker, task: settled.message?.task, taskId: settled.message?.id }
    let [error, settling] = [firstError, outcome]
    for (let failures = 1; error !== undefined; failures++) {
      if (error instanceof LeaseLostError) {
        logger.warn(fields, 'the lease was lost before the outcome was stored; the task will run again')
        break
      }
      if (this.#isOver || (error instanceof CeleriacError && error.code === 'CLOSED')) break
      logger.error({ ...fields, error }, 'the outcome could not be stored yet; trying again')
      if (!(error instanceof CeleriacError)) settling = { kind: 'failure', error, reason: 'failed' }
      await sleep(clock, pauseMs(failures))
      error = await settle(settled, settling, this.#parts).then(
        () => undefined,
        (next: unknown) => next,
      )
    }
    this.#oneDone()
  }

  #log({ delivery, message, attempt }: Settled, outcome: Outcome): void {
    const { logger, clock, worker } = this.#parts
    const fields: Record<string, unknown> = {
      worker,
      queue: delivery.queue,
      task: message?.task,
      taskId: message?.id,
    }
    switch (outcome.kind) {
      case 'success':
        fields.runMs = clock.now() - (attempt?.startedAt ?? clock.now())
        return logger.info(fields, 'succeeded')
      case 'retry':
        return logger.info({ ...fields, error: outcome.error, countdownMs: outcome.countdownMs }, 'failed; will retry')
      case 'failure':
        return logger.error(
          { ...fields, error: outcome.error, retries: message?.retries },
          `gave up: ${outcome.reason}`,
        )
      case 'poison':
        return logger.error({ ...fields, error: outcome.error }, `put with the dead letters: ${outcome.reason}`)
      case 'lost':
        return logger.warn({ ...fields, error: outcome.error }, 'lost with the child that ran it')
      case 'revoked':
        return logger.info(fields, outcome.terminated ? 'terminated' : 'revoked')
      case 'expired':
        return logger.info(fields, 'had expired; not run')
      case 'interrupted':
        if (attempt !== undefined) logger.info(fields, 'interrupted; back to its queue')
    }
  }
}
