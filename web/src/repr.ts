/** Texts that Python's `repr` makes, as values to look at. What cannot be read stays the text it is. */

/** A value that was no list, dict, text, number or word: shown as it stands. */
export class Raw {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

const words: Readonly<Record<string, unknown>> = {
  None: null,
  True: true,
  False: false,
  null: null,
  true: true,
  false: false,
}
const ends: Readonly<Record<string, string>> = { '[': ']', '(': ')', '{': '}' }

/** Undefined where the text is no such value as a whole, as when it was cut. */
export function readRepr(text: string): unknown {
  const reader = new Reader(text)
  try {
    const value = reader.value()
    return reader.isAtEnd() ? value : undefined
  } catch {
    return undefined
  }
}

class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  isAtEnd(): boolean {
    this.#skip()
    return this.#at >= this.#text.length
  }

  value(depth = 0): unknown {
    if (depth > 60) throw new Error('too deep')
    this.#skip()
    const next = this.#text[this.#at] ?? ''
    if (next === "'" || next === '"') return this.#string(next)
    if (next === '{') return this.#entries(depth)
    if (next === '[' || next === '(') return this.#items(ends[next] as string, depth)
    return this.#word()
  }

  #items(end: string, depth: number): unknown[] {
    this.#at += 1
    const items: unknown[] = []
    while (!this.#takes(end)) {
      items.push(this.value(depth + 1))
      if (!this.#takes(',') && this.#peek() !== end) throw new Error('no comma')
    }
    return items
  }

  #entries(depth: number): Record<string, unknown> | unknown[] {
    this.#at += 1
    const entries: [string, unknown][] = []
    const members: unknown[] = []
    while (!this.#takes('}')) {
      const key = this.value(depth + 1)
      if (this.#takes(':')) entries.push([key instanceof Raw ? key.text : String(key), this.value(depth + 1)])
      else members.push(key)
      if (!this.#takes(',') && this.#peek() !== '}') throw new Error('no comma')
    }
    return members.length > 0 ? members : Object.fromEntries(entries)
  }

  #string(quote: string): string {
    let value = ''
    for (this.#at += 1; this.#text[this.#at] !== quote; this.#at += 1) {
      let char = this.#text[this.#at]
      if (char === undefined) throw new Error('no end')
      if (char === '\\') {
        this.#at += 1
        char = { n: '\n', r: '\r', t: '\t' }[this.#text[this.#at] ?? ''] ?? this.#text[this.#at] ?? ''
      }
      value += char
    }
    this.#at += 1
    return value
  }

  /** Up to where the next thing begins; brackets of calls such as `Decimal('1')` belong to it. */
  #word(): unknown {
    const start = this.#at
    const open: string[] = []
    for (; this.#at < this.#text.length; this.#at += 1) {
      const char = this.#text[this.#at] as string
      if (char === open.at(-1)) open.pop()
      else if (open.length === 0 && ',:)]}'.includes(char)) break
      else if (char === '<') open.push('>')
      else if (ends[char] !== undefined) open.push(ends[char] as string)
    }
    const word = this.#text.slice(start, this.#at).trim()
    if (word === '') throw new Error('nothing')
    if (Object.hasOwn(words, word)) return words[word]
    return /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(word) ? Number(word) : new Raw(word)
  }

  #takes(char: string): boolean {
    if (this.#peek() !== char) return false
    this.#at += 1
    return true
  }

  #peek(): string | undefined {
    this.#skip()
    return this.#text[this.#at]
  }

  #skip(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at += 1
  }
}
