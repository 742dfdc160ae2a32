/**
 * Finds stored tasks. Filters on states, names, queues and workers are answered from one narrow index, texts from the
 * index of words; only rows that fit are read. The latest come first, and pages go on at a number, so that new tasks
 * neither repeat nor hide any.
 */
import type { SqlValue } from '../../drivers/sqlite/binding.ts'
import type { MonitorDatabase } from './database.ts'
import { type StoredTask, storedTask } from './task-store.ts'
import type { Words } from './words.ts'

/** What tasks have in common. All of it must fit; of a list, one of them. `*` in a text stands for anything. */
export interface TaskFilter {
  /** An id, or the beginning of one. */
  readonly id?: string
  readonly name?: readonly string[]
  readonly state?: readonly string[]
  readonly queue?: readonly string[]
  readonly worker?: readonly string[]
  /** Words in arguments, result or error, whole or their beginnings; words in quotes follow each other. */
  readonly text?: string
  /** The same, in the error alone. */
  readonly error?: string
  /** Heard of first at this time or later: epoch ms. */
  readonly from?: number
  /** Heard of first before this time: epoch ms. */
  readonly to?: number
}

export interface TaskPage {
  readonly tasks: readonly StoredTask[]
  /** Where the next page goes on; null after the last one. */
  readonly next: number | null
}

/** Counting stops there: more than so many are "many". */
export const maxCounted = 100_000

const columns = ['state', 'name', 'queue', 'worker'] as const
/** Words of a search; the index is asked for each of them. */
const maxWords = 16

interface Condition {
  readonly sql: string
  readonly values: readonly SqlValue[]
}

interface Selection extends Condition {
  /** What the numbers are ordered by. */
  readonly order: string
}

/** Numbers of tasks that are put into a table of a search: some tens of milliseconds. */
const mostAtHand = 200_000

export class TaskQuery {
  readonly #db: MonitorDatabase
  readonly #words: Words

  constructor(db: MonitorDatabase, words: Words) {
    this.#db = db
    this.#words = words
  }

  /** @param before the `next` of the page before; null begins with the latest */
  page(filter: TaskFilter, limit: number, before: number | null = null): TaskPage {
    const numbers = this.#numbers(filter, limit + 1, before)
    const shown = numbers.slice(0, limit)
    const rows = shown.length === 0 ? [] : this.#rows(shown)
    return { tasks: rows.map(storedTask), next: numbers.length > limit ? (shown.at(-1) as number) : null }
  }

  /** How many fit, at most `maxCounted`. */
  count(filter: TaskFilter): number {
    const { sql, values } = this.#select(filter, null)
    return Number(this.#db.first(`SELECT count(*) AS n FROM (${sql} LIMIT ?)`, [...values, maxCounted])?.n)
  }

  /** All that are stored, by state. */
  states(): Record<string, number> {
    // The index begins with the state, so this reads it once from end to end.
    const rows = this.#db.all('SELECT state, count(*) AS n FROM tasks INDEXED BY tasks_by_state GROUP BY state')
    return Object.fromEntries(rows.map(({ state, n }) => [this.#words.textOf(Number(state)) ?? 'UNKNOWN', Number(n)]))
  }

  /** Names of the tasks that are stored. */
  names(): string[] {
    return this.#distinct('name')
  }

  #distinct(column: (typeof columns)[number]): string[] {
    // A jump from one value to the next: an index of a million rows with ten names is asked eleven times.
    const rows = this.#db.all(
      `WITH RECURSIVE each (id) AS (
         SELECT min(${column}) FROM tasks
         UNION ALL SELECT (SELECT min(${column}) FROM tasks WHERE ${column} > each.id) FROM each WHERE each.id IS NOT NULL
       ) SELECT id FROM each WHERE id IS NOT NULL`,
    )
    return rows.flatMap(({ id }) => this.#words.textOf(Number(id)) ?? []).sort()
  }

  #rows(numbers: readonly number[]) {
    const places = numbers.map(() => '?').join(', ')
    return this.#db.all(`SELECT no, seen_at, view FROM tasks WHERE no IN (${places}) ORDER BY no DESC`, numbers)
  }

  #numbers(filter: TaskFilter, limit: number, before: number | null): number[] {
    const { sql, order, values } = this.#select(filter, before)
    return this.#db.all(`${sql} ORDER BY ${order} DESC LIMIT ?`, [...values, limit]).map(({ no }) => Number(no))
  }

  #select(filter: TaskFilter, before: number | null): Selection {
    const { id, text, error, from, to } = filter
    const inIndex = columns.flatMap((column) => this.#isOneOf(column, filter[column]))
    const ofTask: Condition[] = inIndex.map(({ condition }) => condition)
    if (id !== undefined) ofTask.push(beginsWith(id))
    const ofNumber: Condition[] = []
    if (before !== null) ofNumber.push({ sql: 'no < ?', values: [before] })
    // Numbers grow with the time: a span of time is a span of numbers.
    if (from !== undefined) ofNumber.push({ sql: 'no >= ?', values: [this.#firstAt(from)] })
    if (to !== undefined) ofNumber.push({ sql: 'no < ?', values: [this.#firstAt(to)] })
    const [narrowest] = inIndex.sort((a, b) => a.choices - b.choices)
    // Ids lead to few rows by themselves; only without them an index of columns is to be gone through.
    const index = id === undefined && narrowest?.choices === 1 ? ` INDEXED BY tasks_by_${narrowest.column}` : ''
    const { sql, values } = allOf(`SELECT no FROM tasks${index}`, [...ofTask, ...ofNumber])
    const words = [
      ...(text === undefined ? [] : [matchOf(text)]),
      ...(error === undefined ? [] : [`error : (${matchOf(error)})`]),
    ]
    if (words.length === 0) return { sql, values, order: 'no' }
    const match = words.map((word) => `(${word})`).join(' AND ')
    return this.#withWords(match, { sql, values }, ofTask, ofNumber)
  }

  /**
   * The index of words gives the latest first by itself and is gone through no further than needed. What else must fit is
   * known beforehand where that is not much; else each row is looked at, of which enough will fit.
   */
  #withWords(
    match: string,
    others: Condition,
    ofTask: readonly Condition[],
    ofNumber: readonly Condition[],
  ): Selection {
    const order = 'task_text.rowid'
    const conditions: Condition[] = [{ sql: 'task_text MATCH ?', values: [match] }]
    conditions.push(...ofNumber.map(({ sql, values }) => ({ sql: sql.replace('no', order), values })))
    const select = `SELECT ${order} AS no FROM task_text`
    if (ofTask.length === 0) return { ...allOf(select, conditions), order }
    const few = this.#db.first(`SELECT count(*) AS n FROM (${others.sql} LIMIT ?)`, [...others.values, mostAtHand + 1])
    if (Number(few?.n) > mostAtHand) {
      return { ...allOf(`${select} CROSS JOIN tasks ON tasks.no = ${order}`, [...conditions, ...ofTask]), order }
    }
    // The plus keeps SQLite from asking the index of words for each of them.
    conditions.push({ sql: `+${order} IN (${others.sql})`, values: others.values })
    return { ...allOf(select, conditions), order }
  }

  #isOneOf(column: (typeof columns)[number], texts: readonly string[] | undefined) {
    if (texts === undefined || texts.length === 0) return []
    const ids = [...new Set(texts.flatMap((text) => this.#words.matching(text)))]
    const sql = ids.length === 1 ? `${column} = ?` : `${column} IN (${ids.map(() => '?').join(', ')})`
    return [{ column, choices: ids.length, condition: { sql, values: ids } }]
  }

  #firstAt(ms: number): number {
    const row = this.#db.first('SELECT no FROM tasks WHERE seen_at >= ? ORDER BY seen_at, no LIMIT 1', [ms])
    return row === undefined ? Number.MAX_SAFE_INTEGER : Number(row.no)
  }
}

function allOf(select: string, conditions: readonly Condition[]): Condition {
  const where = conditions.map(({ sql }) => sql).join(' AND ')
  return {
    sql: where === '' ? select : `${select} WHERE ${where}`,
    values: conditions.flatMap(({ values }) => values),
  }
}

/** Ids are mostly in lower case, and people copy them with what stands around. */
function beginsWith(id: string): Condition {
  const text = id.trim()
  return { sql: 'uuid >= ? AND uuid < ?', values: [text, `${text}\u{10ffff}`] }
}

/**
 * A search as FTS5 has it: every word, as a beginning. What has a meaning there is quoted, so that any text may be
 * searched for (https://www.sqlite.org/fts5.html#full_text_query_syntax).
 */
function matchOf(text: string): string {
  const parts = text.match(/"[^"]*"|\S+/g) ?? []
  const words = parts.slice(0, maxWords).map((part) => {
    const isPhrase = part.length > 1 && part.startsWith('"') && part.endsWith('"')
    const plain = part.replaceAll('"', ' ').trim()
    // Words without a letter or digit are not in the index.
    return /[\p{L}\p{N}]/u.test(plain) ? `"${plain}"${isPhrase ? '' : ' *'}` : ''
  })
  return words.filter((word) => word !== '').join(' AND ') || '""'
}
