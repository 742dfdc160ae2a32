/** Names of tasks, states, queues and workers as small numbers: what lists are filtered by fits into narrow indexes. */
import type { Clock } from '../../clock.ts'
import { matchesGlob } from '../glob.ts'
import type { MonitorDatabase } from './database.ts'

/** Of what is not known. */
export const noWord = 0
/** Others' events may say anything: what is longer is cut. */
const maxLength = 255
const dayMs = 86_400_000

interface Word {
  readonly id: number
  usedAt: number
}

export class Words {
  readonly #db: MonitorDatabase
  readonly #clock: Clock
  readonly #byText = new Map<string, Word>()
  readonly #byId = new Map<number, string>()

  constructor(db: MonitorDatabase, clock: Clock) {
    this.#db = db
    this.#clock = clock
    this.reload()
  }

  /** What the file has; to be called when a transaction was rolled back that may have added some. */
  reload(): void {
    this.#byText.clear()
    this.#byId.clear()
    for (const { id, text, used_at } of this.#db.all('SELECT id, text, used_at FROM words')) {
      this.#remember(String(text), { id: Number(id), usedAt: Number(used_at) })
    }
  }

  /** The number of a text, a new one where it has none. */
  idOf(text: string | null): number {
    if (text === null || text === '') return noWord
    const word = this.#byText.get(cut(text))
    if (word === undefined) return this.#add(cut(text))
    const nowMs = this.#clock.now()
    if (nowMs - word.usedAt > dayMs) {
      word.usedAt = nowMs
      this.#db.run('UPDATE words SET used_at = ? WHERE id = ?', [nowMs, word.id])
    }
    return word.id
  }

  /** Undefined for a text that was never heard: nothing can have it. */
  find(text: string): number | undefined {
    return this.#byText.get(cut(text))?.id
  }

  /** Numbers of the texts that match; `*` stands for anything. */
  matching(pattern: string): number[] {
    if (!pattern.includes('*')) return [this.find(pattern) ?? -1]
    return [...this.#byText].filter(([text]) => matchesGlob(text, pattern)).map(([, { id }]) => id)
  }

  textOf(id: number): string | null {
    return this.#byId.get(id) ?? null
  }

  /** Forgets what nobody has needed since then. */
  forgetBefore(ms: number): void {
    for (const [text, { id, usedAt }] of this.#byText) {
      if (usedAt >= ms) continue
      this.#db.run('DELETE FROM words WHERE id = ?', [id])
      this.#byText.delete(text)
      this.#byId.delete(id)
    }
  }

  #add(text: string): number {
    const usedAt = this.#clock.now()
    const id = this.#db.insert('INSERT INTO words (text, used_at) VALUES (?, ?)', [text, usedAt])
    this.#remember(text, { id, usedAt })
    return id
  }

  #remember(text: string, word: Word): void {
    this.#byText.set(text, word)
    this.#byId.set(word.id, text)
  }
}

function cut(text: string): string {
  return text.slice(0, maxLength)
}
