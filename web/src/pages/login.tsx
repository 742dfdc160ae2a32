import { useState } from 'preact/hooks'
import { call, whoAmI } from '../api.ts'
import { listen } from '../live.ts'
import { go, query } from '../router.ts'

export function Login() {
  const [problem, setProblem] = useState('')
  const enter = async (event: Event): Promise<void> => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    try {
      await call('POST', '/login', { name: String(form.get('name')), password: String(form.get('password')) })
      await whoAmI()
      listen()
      const to = query.value.get('to') ?? '/'
      // Of this site alone: `//elsewhere` would be another.
      go(/^\/(?!\/)/.test(to) ? to : '/')
    } catch (error) {
      setProblem((error as Error).message)
    }
  }
  return (
    <main id="main" class="login card" tabIndex={-1}>
      <h1>Celeriac</h1>
      <form class="stack" onSubmit={(event) => void enter(event)}>
        <label class="field">
          User
          <input name="name" autocomplete="username" required />
        </label>
        <label class="field">
          Password
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        {problem !== '' && (
          <p class="bad" role="alert">
            {problem}
          </p>
        )}
        <button type="submit" class="primary">
          Log in
        </button>
      </form>
    </main>
  )
}
