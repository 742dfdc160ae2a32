#!/usr/bin/env node
/** The command `celeriac`. All of it is in src/cli/; this file only finds the built package. */
import { existsSync } from 'node:fs'
import module from 'node:module'

const main = new URL('../dist/cli/main.js', import.meta.url)

if (existsSync(main)) {
  // Starts faster from the second time on, where Node has it (22.8 and later).
  module.enableCompileCache?.()
  const { run } = await import(main.href)
  await run(process.argv.slice(2))
} else {
  console.error('celeriac: this copy is not built: dist/cli/main.js is missing. Run `npm run build` in its folder.')
  process.exitCode = 1
}
