/** Dark or light: as the system has it, unless somebody has chosen. */
import { signal } from '@preact/signals'

export type Theme = 'dark' | 'light'
const key = 'celeriac.theme'
const system = matchMedia('(prefers-color-scheme: dark)')

export const theme = signal<Theme>(chosen() ?? (system.matches ? 'dark' : 'light'))
show()

system.addEventListener('change', () => {
  if (chosen() === undefined) theme.value = system.matches ? 'dark' : 'light'
  show()
})

export function switchTheme(): void {
  theme.value = theme.value === 'dark' ? 'light' : 'dark'
  localStorage.setItem(key, theme.value)
  show()
}

function chosen(): Theme | undefined {
  const kept = localStorage.getItem(key)
  return kept === 'dark' || kept === 'light' ? kept : undefined
}

function show(): void {
  document.documentElement.dataset.theme = theme.value
}
