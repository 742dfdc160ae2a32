/**
 * Keeps secrets out of what the monitor stores and shows: values whose names sound secret, values that look like
 * credentials, and everything that certain tasks were given or returned. Texts are hidden before they are stored, so that
 * neither the file nor a search through it tells them.
 */
import type { ReceivedEvent } from '../events/received-event.ts'
import { matchesGlob } from './glob.ts'

export const hidden = '***'

/** Fields of events that say what a task was given, returned and threw. */
const telling = new Set(['args', 'kwargs', 'result', 'exception', 'traceback'])
/** Fields that say nothing secret; all others may be of a task's own. */
const plain = new Set([
  ...['type', 'hostname', 'timestamp', 'clock', 'utcoffset', 'pid', 'uuid', 'name', 'root_id', 'parent_id', 'retries'],
  ...['eta', 'expires', 'queue', 'exchange', 'routing_key', 'runtime', 'requeue', 'terminated', 'signum', 'expired'],
])

export interface RedactionSettings {
  /** Names of arguments beyond the usual ones, `*` for anything. */
  readonly names: readonly string[]
  /** Names of tasks whose arguments and results are not shown at all, `*` for anything. */
  readonly tasks: readonly string[]
}

const secretName =
  'passw(?:or)?d|passwd|passphrase|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|authorization|auth|credentials?|cookie|session[-_]?id|card[-_]?number|cvv|cvc|ssn|iban|pin'
/** Before or after the telling part there may be more of the name: `db_password`, `token_value`. */
const sounds = new RegExp(`(?:^|[^a-z])(?:${secretName})(?:$|[^a-z])|(?:password|secret|token|apikey)$`, 'i')
/** A name and its value, in Python's or JSON's manner of writing. At most so long: texts come from anywhere. */
const pair =
  /(["']?)([A-Za-z_][\w.-]{0,100})\1(\s{0,3}[:=]\s{0,3})(b?'(?:[^'\\]|\\.){0,4096}'?|b?"(?:[^"\\]|\\.){0,4096}"?|[^\s,)}\]]{1,4096})/g
/** JSON web tokens; `Bearer` and `Basic` credentials; passwords in URLs; keys of well-known services. */
const credentials: readonly (readonly [RegExp, string])[] = [
  [/\beyJ[\w-]{8,2048}\.[\w-]{8,4096}\.[\w-]{0,1024}/g, hidden],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{8,2048}/g, `$1 ${hidden}`],
  [/([a-z][a-z0-9+.-]{0,20}:\/\/[^\s/:@'"]{0,256}:)[^\s/@'"]{1,256}@/gi, `$1${hidden}@`],
  [/\b(?:sk|pk|rk)_(?:live|test)_\w{8,256}|\bAKIA[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,256}/g, hidden],
]

export class Redaction {
  readonly #settings: RedactionSettings

  constructor(settings: RedactionSettings) {
    this.#settings = settings
  }

  get hasHiddenTasks(): boolean {
    return this.#settings.tasks.length > 0
  }

  /** An event, with what it says of arguments, results and errors made safe. */
  event(event: ReceivedEvent, isHidden: boolean): ReceivedEvent {
    const safe = Object.entries(event).map(([field, value]) => {
      if (plain.has(field) || value === null || value === undefined) return [field, value]
      if (isHidden) return [field, hidden]
      return [
        field,
        telling.has(field) && typeof value !== 'string' ? this.text(JSON.stringify(value)) : this.value(value),
      ]
    })
    return Object.fromEntries(safe) as ReceivedEvent
  }

  /** Whether nothing that the task was given or returned is to be shown. */
  hidesTask(task: string): boolean {
    return this.#settings.tasks.some((pattern) => matchesGlob(task, pattern))
  }

  /** A task as a worker tells of it when it is asked. */
  request(request: unknown): unknown {
    if (typeof request !== 'object' || request === null) return request
    // What is scheduled holds the task a level deeper.
    const { name, request: inner } = request as { name?: unknown; request?: unknown }
    if (inner !== undefined) return { ...request, request: this.request(inner) }
    const isHidden = typeof name === 'string' && this.hidesTask(name)
    return isHidden ? { ...request, args: hidden, kwargs: hidden } : this.value(request)
  }

  isSecretName(name: string): boolean {
    // `accessToken` is read as `access-Token`.
    const words = name.replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    if (sounds.test(words.replaceAll('_', '-'))) return true
    return this.#settings.names.some((pattern) => matchesGlob(name.toLowerCase(), pattern.toLowerCase()))
  }

  /** A text for people: arguments, a result, an error, a traceback. */
  text(text: string): string {
    let safe = text
    for (const [expression, instead] of credentials) safe = safe.replace(expression, instead)
    return safe.replace(pair, (all, quote: string, name: string, between: string) =>
      this.isSecretName(name) ? `${quote}${name}${quote}${between}'${hidden}'` : all,
    )
  }

  /** Any JSON value, with its structure. */
  value(value: unknown, depth = 0): unknown {
    if (typeof value === 'string') return this.text(value)
    if (typeof value !== 'object' || value === null) return value
    if (depth > 40) return hidden
    if (Array.isArray(value)) return value.map((item) => this.value(item, depth + 1))
    if (Object.getPrototypeOf(value) !== Object.prototype) return String(value)
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [
        name,
        this.isSecretName(name) ? hidden : this.value(item, depth + 1),
      ]),
    )
  }
}
