/** How data is shown: tables and texts for people, JSON for programs; always on stdout. */
import { columnsOf, type Paint, painter } from './terminal.ts'

export interface Column<Row> {
  readonly title: string
  readonly of: (row: Row) => string
  readonly align?: 'right'
  readonly paint?: (row: Row, text: string, paint: Paint) => string
}

/** One JSON value on a line of its own. */
export function printJson(value: unknown): void {
  process.stdout.write(`${jsonOf(value)}\n`)
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** For people only, so not where a program reads stdout. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Columns as wide as their content; the last one is cut at the edge of the terminal. */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  width = columnsOf(process.stdout),
  paint = painter(process.stdout),
): string {
  const texts = rows.map((row) => columns.map((column) => oneLine(column.of(row))))
  const widths = columns.map((column, at) =>
    Math.max(column.title.length, ...texts.map((cells) => cells[at]?.length ?? 0)),
  )
  const line = (cells: readonly string[], decorate: (text: string, at: number) => string): string => {
    let left = width
    return columns
      .map((column, at) => {
        const isLast = at === columns.length - 1
        const text = cut(cells[at] ?? '', Math.max(8, left))
        const room = ' '.repeat(Math.max(0, (widths[at] ?? 0) - text.length))
        left -= (widths[at] ?? 0) + 2
        const painted = decorate(text, at)
        return column.align === 'right' ? room + painted : isLast ? painted : painted + room
      })
      .join('  ')
      .trimEnd()
  }
  return [
    line(
      columns.map(({ title }) => title),
      (text) => paint('dim', text),
    ),
    ...rows.map((row, index) => {
      const cells = texts[index] ?? []
      return line(cells, (text, at) => columns[at]?.paint?.(row, text, paint) ?? text)
    }),
  ].join('\n')
}

/** Names and values below each other; values of several lines are indented below theirs. */
export function facts(
  pairs: readonly (readonly [string, string | undefined])[],
  paint = painter(process.stdout),
): string {
  const shown = pairs.filter((pair): pair is readonly [string, string] => pair[1] !== undefined)
  const width = Math.max(...shown.map(([name]) => name.length)) + 2
  return shown
    .map(([name, value]) => `${paint('dim', name.padEnd(width))}${value.replaceAll('\n', `\n${' '.repeat(width)}`)}`)
    .join('\n')
}

/** A value as people read it: on one line if it fits, else indented. */
export function pretty(value: unknown, width = 60): string {
  if (value === undefined) return 'undefined'
  const short = jsonOf(value)
  return short.length <= width ? short : jsonOf(value, 2)
}

/** Long whole numbers and bytes, which JSON has not, as texts: digits and base64. */
export function jsonOf(value: unknown, indent?: number): string {
  const plain = (_key: string, item: unknown): unknown => {
    if (typeof item === 'bigint') return String(item)
    return item instanceof Uint8Array ? Buffer.from(item).toString('base64') : item
  }
  return JSON.stringify(value, plain, indent)
}

export function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ')
}

export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`
}

/** Text broken between words so that it ends at the width; the lines after the first are indented. */
export function wrap(text: string, width: number, indent: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`)
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

/** `2026-11-22 19:04:10.123`, in local time. */
export function localTime(epochMs: number): string {
  const at = new Date(epochMs)
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`
}
