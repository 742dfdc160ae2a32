/**
 * Values from the texts that Python's `repr` makes of them, as far as nothing is lost: numbers, texts, None, True, False,
 * and lists, tuples and dicts of these. Anything else, a text that was cut, or one with something hidden in it is refused.
 */
import { hidden } from '../redaction.ts'

/** Undefined for what cannot be read back with certainty. */
export function readLiteral(text: string): unknown {
  const reader = new Reader(text)
  try {
    const value = reader.value(0)
    return reader.isAtEnd() ? value : undefined
  } catch (error) {
    if (error instanceof Unreadable) return undefined
    throw error
  }
}

class Unreadable extends Error {}

const maxDepth = 50
const words: Readonly<Record<string, unknown>> = { None: null, True: true, False: false }
const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\', "'": "'", '"': '"' }

class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  isAtEnd(): boolean {
    this.#skipSpace()
    return this.#at === this.#text.length
  }

  value(depth: number): unknown {
    if (depth > maxDepth) throw new Unreadable()
    this.#skipSpace()
    const next = this.#text[this.#at]
    switch (next) {
      case "'":
      case '"':
        return this.#string(next)
      case '[':
        return this.#items(']', depth)
      case '(':
        return this.#items(')', depth)
      case '{':
        return this.#entries(depth)
      default:
        return this.#word()
    }
  }

  #items(end: string, depth: number): unknown[] {
    this.#at += 1
    const items: unknown[] = []
    let hasComma = false
    while (!this.#takes(end)) {
      if (items.length > 0 && !hasComma) throw new Unreadable()
      items.push(this.value(depth + 1))
      hasComma = this.#takes(',')
    }
    // `(1)` is a number in brackets, no tuple.
    if (end === ')' && items.length === 1 && !hasComma) throw new Unreadable()
    return items
  }

  #entries(depth: number): Record<string, unknown> {
    this.#at += 1
    const entries: [string, unknown][] = []
    let hasComma = true
    while (!this.#takes('}')) {
      const key = this.value(depth + 1)
      // Other keys would become texts on the way through JSON.
      if (!hasComma || typeof key !== 'string' || !this.#takes(':')) throw new Unreadable()
      entries.push([key, this.value(depth + 1)])
      hasComma = this.#takes(',')
    }
    return Object.fromEntries(entries)
  }

  #string(quote: string): string {
    let value = ''
    for (this.#at += 1; this.#text[this.#at] !== quote; this.#at += 1) {
      const char = this.#text[this.#at]
      if (char === undefined) throw new Unreadable()
      value += char === '\\' ? this.#escape() : char
    }
    this.#at += 1
    if (value.includes(hidden)) throw new Unreadable()
    return value
  }

  #escape(): string {
    this.#at += 1
    const kind = this.#text[this.#at] ?? ''
    const simple = escapes[kind]
    if (simple !== undefined) return simple
    const length = { x: 2, u: 4, U: 8 }[kind]
    if (length === undefined) throw new Unreadable()
    const digits = this.#text.slice(this.#at + 1, this.#at + 1 + length)
    const code = /^[0-9a-f]+$/i.test(digits) && digits.length === length ? Number.parseInt(digits, 16) : Number.NaN
    if (!(code <= 0x10ffff)) throw new Unreadable()
    this.#at += length
    return String.fromCodePoint(code)
  }

  #word(): unknown {
    const [word = ''] = /^[\w.+-]*/.exec(this.#text.slice(this.#at, this.#at + 40)) ?? []
    this.#at += word.length
    if (Object.hasOwn(words, word)) return words[word]
    const isNumber = /^-?(\d+)(\.\d+)?(e[+-]?\d+)?$/i.test(word)
    // Larger whole numbers would be rounded.
    const value = isNumber ? Number(word) : Number.NaN
    if (!Number.isFinite(value) || (/^-?\d+$/.test(word) && !Number.isSafeInteger(value))) throw new Unreadable()
    return value
  }

  #takes(char: string): boolean {
    this.#skipSpace()
    if (this.#text[this.#at] !== char) return false
    this.#at += 1
    return true
  }

  #skipSpace(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at += 1
  }
}
