/** The exchanges that fan messages out. Celery's are declared as kombu declares them, in all its versions. */
import { controlTopic, eventTopic } from '../../broker/bus.ts'
import { replyExchange } from '../../broker/celery-asker.ts'
import { replyCodeOf, replyCodes } from './failures.ts'
import type { Requests } from './requests.ts'

/** How an exchange is declared. Whoever declares it otherwise is refused by the server. */
export interface ExchangeForm {
  readonly type: 'topic' | 'fanout' | 'direct'
  readonly durable: boolean
}

/** Of those that are ours alone. */
export const topicForm: ExchangeForm = { type: 'topic', durable: true }

/** `kombu/pidbox.py` and `celery/events/event.py`. */
export const celeryForms = {
  [controlTopic]: { type: 'fanout', durable: false },
  [replyExchange]: { type: 'direct', durable: false },
  [eventTopic]: { type: 'topic', durable: true },
} as const satisfies Record<string, ExchangeForm>

/** Makes the exchange where it is not there; one that is there in another form, or not ours to make, is used as it is. */
export async function ensureExchange(requests: Requests, exchange: string, form: ExchangeForm): Promise<void> {
  const what = `declaring exchange '${exchange}'`
  const { type, durable } = form
  try {
    await requests.run(what, (channel) => channel.assertExchange(exchange, type, { durable }))
  } catch (error) {
    const code = replyCodeOf(error)
    if (code !== replyCodes.preconditionFailed && code !== replyCodes.accessRefused) throw error
    await requests.run(what, (channel) => channel.checkExchange(exchange))
  }
}
