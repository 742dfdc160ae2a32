/** Where we are: the path and the query of the address. All that a page shows by choice stands there. */
import { computed, signal } from '@preact/signals'

const place = signal(here())

function here(): { readonly path: string; readonly query: URLSearchParams } {
  return { path: location.pathname, query: new URLSearchParams(location.search) }
}

export const path = computed(() => place.value.path)
export const query = computed(() => place.value.query)

addEventListener('popstate', () => {
  place.value = here()
})

/** @param replaces for what need not be gone back to, such as a letter more in a search */
export function go(url: string, { replaces = false } = {}): void {
  if (replaces) history.replaceState(null, '', url)
  else history.pushState(null, '', url)
  const before = place.value.path
  place.value = here()
  if (place.value.path === before) return
  scrollTo(0, 0)
  // What was read aloud was the old page.
  document.getElementById('main')?.focus()
}

/** Follows links within the pages without loading them anew. */
export function followLinks(): void {
  document.addEventListener('click', (event) => {
    const link = (event.target as Element).closest?.('a[href]') as HTMLAnchorElement | null
    const isOther = event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey
    if (link === null || isOther || event.defaultPrevented || link.origin !== location.origin || link.target !== '')
      return
    if (link.pathname.startsWith('/api/') || link.hasAttribute('download')) return
    event.preventDefault()
    go(link.pathname + link.search + link.hash)
  })
}

/** The address with another choice; undefined and '' take one away. */
export function withQuery(changes: Readonly<Record<string, string | readonly string[] | undefined>>): string {
  const next = new URLSearchParams(query.value)
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name)
    for (const one of typeof value === 'string' ? [value] : (value ?? [])) if (one !== '') next.append(name, one)
  }
  const text = next.toString()
  return `${path.value}${text === '' ? '' : `?${text}`}`
}
