/**
 * Runs a TypeScript file: `node scripts/run-ts.mjs FILE [ARGUMENTS…]`. The file sees the arguments where it expects
 * them, in process.argv from 2 on.
 *
 * Where Node strips types itself (22.18 and later) it does; before that jiti transpiles. Either way JavaScript modules
 * are loaded by Node, so `celeriac`, which the package's own `exports` resolve to dist/, is one instance for all.
 */
import { realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [file, ...args] = process.argv.slice(2)
if (file === undefined) {
  console.error('Usage: node scripts/run-ts.mjs FILE [ARGUMENTS…]')
  process.exit(2)
}
await runTypeScript(file, args)

async function runTypeScript(file, args) {
  const path = realpathSync(resolve(file))
  process.argv.splice(1, Infinity, path, ...args)
  if (process.features.typescript) {
    await import(pathToFileURL(path).href)
    return
  }
  const { createJiti } = await import('jiti')
  await createJiti(import.meta.url).import(path)
}
