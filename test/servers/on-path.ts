/** Which programs are installed here. */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The path of a browser of that family. */
export function chromium(): string | undefined {
  return ['chromium', 'chromium-browser', 'google-chrome'].map(onPath).find((path) => path !== undefined)
}

export function onPath(program: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path))
}
