/** A value as a tree that opens, or the text it came as. */
import { Raw, readRepr } from '../repr.ts'

export function Repr({ text }: { text: string | null }) {
  if (text === null || text === '') return <span class="note">nothing</span>
  const value = readRepr(text)
  if (value === undefined || typeof value !== 'object' || value === null) return <pre class="value">{text}</pre>
  return <Value value={value} isOpen />
}

export function Value({ value, isOpen = false }: { value: unknown; isOpen?: boolean }) {
  if (value instanceof Raw) return <code>{value.text}</code>
  if (typeof value === 'string') return <code class="text">{JSON.stringify(value)}</code>
  if (typeof value !== 'object' || value === null) return <code class="word">{String(value)}</code>
  const entries = Object.entries(value)
  if (entries.length === 0) return <code>{Array.isArray(value) ? '[]' : '{}'}</code>
  return (
    <details class="tree" open={isOpen || entries.length <= 3}>
      <summary>
        {Array.isArray(value) ? 'list' : 'object'} of {entries.length}
      </summary>
      <dl>
        {entries.slice(0, 500).map(([key, item]) => (
          <div key={key}>
            <dt>{key}</dt>
            <dd>
              <Value value={item} />
            </dd>
          </div>
        ))}
        {entries.length > 500 && <p class="note">and {entries.length - 500} more</p>}
      </dl>
    </details>
  )
}
