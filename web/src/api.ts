/** The monitor's API: requests, what went wrong in words, and data that is kept fresh. */
import { type Signal, signal } from '@preact/signals'
import { useEffect, useMemo } from 'preact/hooks'
import type { Me } from '../../src/monitor/api-types.ts'
import { go } from './router.ts'

export class ApiError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const base = '/api/v1'

export async function call<T>(
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  path: string,
  body?: unknown,
  abort?: AbortSignal,
): Promise<T> {
  let response: Response
  try {
    response = await fetch(base + path, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
      ...(abort !== undefined && { signal: abort }),
    })
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error
    throw new ApiError(0, 'The monitor cannot be reached.')
  }
  if (response.ok) return (await response.json()) as T
  const said = (await response.json().catch(() => null)) as { error?: { message?: string } } | null
  if (response.status === 401 && location.pathname !== '/login') {
    go(`/login?to=${encodeURIComponent(location.pathname + location.search)}`)
  }
  throw new ApiError(response.status, said?.error?.message ?? `The monitor answered ${response.status}.`)
}

export interface Resource<T> {
  readonly data: T | undefined
  readonly error: ApiError | undefined
  readonly isLoading: boolean
  /** Of the data, epoch ms. */
  readonly at: number
  readonly reload: () => void
}

/**
 * What a path answers, asked again every so often while the page is seen. What was known stays while it is asked.
 * @param path undefined asks nothing
 */
export function useResource<T>(path: string | undefined, everyMs = 0): Resource<T> {
  const state: Signal<Omit<Resource<T>, 'reload'>> = useMemo(
    () => signal({ data: undefined, error: undefined, isLoading: path !== undefined, at: 0 }),
    [path],
  )
  const loader = useMemo(() => {
    let abort = new AbortController()
    const load = async (): Promise<void> => {
      if (path === undefined) return
      abort.abort()
      abort = new AbortController()
      const own = abort
      state.value = { ...state.value, isLoading: true }
      try {
        const data = await call<T>('GET', path, undefined, own.signal)
        state.value = { data, error: undefined, isLoading: false, at: Date.now() }
      } catch (error) {
        if (!own.signal.aborted) state.value = { ...state.value, error: error as ApiError, isLoading: false }
      }
    }
    return { load, stop: () => abort.abort() }
  }, [path])
  useEffect(() => {
    void loader.load()
    const timer = everyMs === 0 ? undefined : setInterval(() => document.hidden || void loader.load(), everyMs)
    return () => {
      clearInterval(timer)
      loader.stop()
    }
  }, [loader, everyMs])
  return { ...state.value, reload: () => void loader.load() }
}

export const me = signal<Me | undefined>(undefined)

export async function whoAmI(): Promise<void> {
  me.value = await call<Me>('GET', '/me')
}

const roles = ['viewer', 'operator', 'admin']

/** Why this may not be done by who is here; undefined where it may. */
export function whyNot(role: 'operator' | 'admin'): string | undefined {
  const own = me.value
  if (own === undefined) return 'It is not known yet who you are'
  if (own.readOnly) return 'This monitor only looks: it was started with --read-only'
  return roles.indexOf(own.role) >= roles.indexOf(role) ? undefined : `This is for ${role}s; you are ${own.role}`
}

export function pathOf(...parts: readonly string[]): string {
  return parts.map((part) => `/${encodeURIComponent(part)}`).join('')
}
