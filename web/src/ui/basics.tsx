/** Small parts of all pages. */
import { signal } from '@preact/signals'
import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { type ApiError, type Resource, whyNot } from '../api.ts'
import { absolute, relative } from '../format.ts'

/** Grows each second: what is told relative to now goes on. */
export const now = signal(Date.now())
setInterval(() => {
  if (!document.hidden) now.value = Date.now()
}, 1_000)

export function Time({ at, none = '–' }: { at: number | string | null | undefined; none?: string }) {
  const ms = typeof at === 'string' ? Date.parse(at) : at
  if (ms === null || ms === undefined || Number.isNaN(ms)) return <span>{none}</span>
  return (
    <time dateTime={new Date(ms).toISOString()} title={absolute(ms)}>
      {relative(ms, now.value)}
    </time>
  )
}

const tones: Readonly<Record<string, string>> = {
  ...{ SUCCESS: 'good', FAILURE: 'bad', REVOKED: 'quiet', REJECTED: 'warn', RETRY: 'warn', STARTED: 'busy' },
  ...{ RECEIVED: 'busy', PENDING: 'quiet', CANCELLED: 'quiet', running: 'busy', done: 'good', failed: 'bad' },
  ...{ cancelled: 'quiet', critical: 'bad', warn: 'warn', info: 'busy', ok: 'good', firing: 'bad', pending: 'warn' },
  ...{ resolved: 'good', sent: 'good', 'not-sent': 'bad', test: 'quiet', alive: 'good', gone: 'quiet', paused: 'warn' },
}

export function Badge({ text, tone }: { text: string; tone?: string }) {
  return <span class={`badge ${tone ?? tones[text] ?? 'quiet'}`}>{text}</span>
}

export function Page({
  title,
  actions,
  children,
}: {
  title: string
  actions?: ComponentChildren
  children: ComponentChildren
}) {
  useEffect(() => {
    document.title = `${title} · Celeriac`
  }, [title])
  return (
    <>
      <header class="page-head">
        <h1>{title}</h1>
        {actions !== undefined && <div class="actions">{actions}</div>}
      </header>
      {children}
    </>
  )
}

export function Card({
  title,
  extra,
  children,
  label,
}: {
  title?: string
  extra?: ComponentChildren
  children: ComponentChildren
  label?: string
}) {
  return (
    <section class="card" aria-label={label ?? title}>
      {title !== undefined && (
        <header>
          <h2>{title}</h2>
          {extra}
        </header>
      )}
      {children}
    </section>
  )
}

export function Figure({
  label,
  value,
  note,
  tone,
  href,
}: {
  label: string
  value: string
  note?: string | undefined
  tone?: string
  href?: string
}) {
  const body = (
    <>
      <span class="figure-label">{label}</span>
      <strong class={tone}>{value}</strong>
      {note !== undefined && <span class="figure-note">{note}</span>}
    </>
  )
  return href === undefined ? (
    <div class="figure">{body}</div>
  ) : (
    <a class="figure" href={href}>
      {body}
    </a>
  )
}

/** What a page says before there is something, and when there is nothing. */
export function Loaded<T>({
  of,
  children,
  empty,
}: {
  of: Resource<T>
  children: (data: T) => ComponentChildren
  empty?: ComponentChildren
}) {
  const { data, error, at } = of
  if (data === undefined)
    return error === undefined ? (
      <p class="note" role="status">
        Loading …
      </p>
    ) : (
      <Trouble error={error} reload={of.reload} />
    )
  const isEmpty = empty !== undefined && Array.isArray(data) && data.length === 0
  return (
    <>
      {error !== undefined && (
        <p class="stale" role="status">
          {error.message} What you see is of <Time at={at} />.
        </p>
      )}
      {isEmpty ? <p class="note">{empty}</p> : children(data)}
    </>
  )
}

export function Trouble({ error, reload }: { error: ApiError; reload?: () => void }) {
  return (
    <div class="trouble" role="alert">
      <p>{error.status === 404 ? `Not found: ${error.message}` : error.message}</p>
      {reload !== undefined && (
        <button type="button" onClick={reload}>
          Try again
        </button>
      )}
    </div>
  )
}

/** A button for what not everybody may do: where it may not be done, it says why. */
export function Action({
  needs,
  children,
  onClick,
  kind = '',
  title,
}: {
  /** The role that it takes. */
  needs: 'operator' | 'admin'
  children: ComponentChildren
  onClick: () => unknown
  kind?: string
  title?: string
}) {
  const [isBusy, setBusy] = useState(false)
  const why = whyNot(needs)
  const act = async (): Promise<void> => {
    setBusy(true)
    try {
      await onClick()
    } catch (error) {
      say((error as Error).message, 'bad')
    } finally {
      setBusy(false)
    }
  }
  return (
    <button
      type="button"
      class={kind}
      disabled={why !== undefined || isBusy}
      title={why ?? title}
      onClick={() => void act()}
    >
      {children}
    </button>
  )
}

const said = signal<readonly { readonly id: number; readonly text: string; readonly tone: string }[]>([])
let sayings = 0

export function say(text: string, tone: 'good' | 'bad' = 'good'): void {
  sayings += 1
  const own = { id: sayings, text, tone }
  said.value = [...said.value.slice(-3), own]
  setTimeout(
    () => {
      said.value = said.value.filter((one) => one !== own)
    },
    tone === 'bad' ? 12_000 : 5_000,
  )
}

export function Sayings() {
  return (
    <div class="sayings" role="status" aria-live="polite">
      {said.value.map(({ id, text, tone }) => (
        <p key={id} class={tone}>
          {text}
        </p>
      ))}
    </div>
  )
}

export interface Column<Row> {
  readonly title: string
  readonly of: (row: Row) => ComponentChildren
  readonly isNumber?: boolean
  /** Left out where there is little room. */
  readonly isMinor?: boolean
}

export function Table<Row>({
  caption,
  columns,
  rows,
  keyOf,
}: {
  caption: string
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  keyOf: (row: Row, place: number) => string
}) {
  const classOf = ({ isNumber, isMinor }: Column<Row>): string =>
    `${isNumber ? 'number' : ''} ${isMinor ? 'minor' : ''}`.trim()
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <section class="scroll" tabIndex={0} aria-label={`${caption}, as a table`}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.title} scope="col" class={classOf(column)}>
                {column.title === '' ? <span class="hidden">Actions</span> : column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, place) => (
            <tr key={keyOf(row, place)}>
              {columns.map((column) => (
                <td key={column.title} class={classOf(column)}>
                  {column.of(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

export function Facts({ of }: { of: readonly (readonly [label: string, value: ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {of.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

export function Meter({ share, label }: { share: number; label: string }) {
  const at = Math.max(0, Math.min(1, share))
  const tone = at >= 0.9 ? 'bad' : at >= 0.7 ? 'warn' : 'good'
  return (
    <span class={`meter ${tone}`} role="img" aria-label={`${label}: ${Math.round(share * 100)} %`}>
      <span style={{ width: `${at * 100}%` }} />
    </span>
  )
}

export type Child = JSX.Element | string | null
