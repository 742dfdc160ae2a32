/**
 * Values as Python would print them, for the `argsrepr` and `kwargsrepr` headers: texts for logs, Flower and
 * `celery inspect`, cut at 1,024 characters as Celery cuts them.
 */
const maxLength = 1_024

export function argsRepr(args: readonly unknown[]): string {
  if (args.length === 0) return '()'
  const items = listOf(args, maxLength)
  return cut(args.length === 1 ? `(${items},)` : `(${items})`)
}

export function kwargsRepr(kwargs: Readonly<Record<string, unknown>>): string {
  return cut(repr(kwargs, maxLength))
}

/** One value, cut as the others. */
export function valueRepr(value: unknown): string {
  return cut(repr(value, maxLength))
}

/** A Python set of texts. */
export function setRepr(texts: readonly string[]): string {
  return `{${texts.map(quoted).join(', ')}}`
}

/** An exception with its one argument. */
export function errorRepr(name: string, message: string): string {
  return cut(`${name}(${quoted(message)})`)
}

/** `budget` = characters still of interest; what lies beyond is cut anyway, so it is not spelt out. */
function repr(value: unknown, budget: number): string {
  if (budget <= 0) return '...'
  switch (typeof value) {
    case 'string':
      return quoted(value.length > budget ? value.slice(0, budget) : value)
    case 'boolean':
      return value ? 'True' : 'False'
    case 'object':
      if (value === null) return 'None'
      if (Array.isArray(value)) return `[${listOf(value, budget)}]`
      if (value instanceof Uint8Array) return `b'${Buffer.from(value.subarray(0, budget)).toString('hex')}'`
      if (value instanceof Date) return quoted(value.toISOString())
      return `{${entriesOf(value as Record<string, unknown>, budget)}}`
    case 'undefined':
      return 'None'
    default:
      return String(value)
  }
}

function listOf(items: readonly unknown[], budget: number): string {
  let text = ''
  for (const item of items) {
    if (text.length > budget) break
    text += `${text === '' ? '' : ', '}${repr(item, budget - text.length)}`
  }
  return text
}

function entriesOf(value: Readonly<Record<string, unknown>>, budget: number): string {
  let text = ''
  for (const key in value) {
    if (text.length > budget) break
    text += `${text === '' ? '' : ', '}${quoted(key)}: ${repr(value[key], budget - text.length)}`
  }
  return text
}

/** With the quotes that Python would take. */
function quoted(text: string): string {
  if (!/['\\\n]/.test(text)) return `'${text}'`
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return text.includes("'") && !text.includes('"') ? `"${escaped}"` : `'${escaped.replaceAll("'", "\\'")}'`
}

function cut(text: string): string {
  return text.length > maxLength ? `${text.slice(0, maxLength - 3)}...` : text
}
