/**
 * Ends the process with a clear answer when this Node is older than `engines` in package.json allows.
 *
 * Every script imports this first, so that an old Node fails here and not on some syntax deep in a dependency.
 */
import { readFileSync } from 'node:fs'

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
const needed = engines.node.replace(/^\D+/, '')

if (isOlder(process.versions.node, needed)) {
  console.error(`Celeriac needs Node ${needed} or newer; this is Node ${process.versions.node} (${process.execPath}).`)
  console.error('Install a newer Node (https://nodejs.org, or `nvm install --lts`) and run the command again.')
  process.exit(1)
}

function isOlder(version, than) {
  const [a, b] = [version, than].map((text) => text.split('.').map(Number))
  const differing = a.findIndex((part, i) => part !== b[i])
  return differing !== -1 && a[differing] < b[differing]
}
