/**
 * Import directions within src/: the table below says which layer may import which, and nothing else does.
 * Cycles within a layer are Biome's to find (noImportCycles); between layers the directions leave none.
 *
 * `node scripts/check-imports.mjs` prints every import against the direction and exits with 1 if there is one.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * The layers in order: each imports itself and those before it. A path is a folder of src/ ('task/'), a file
 * ('app.ts') or './' for the files directly in src/; the longest that fits a file decides its layer.
 */
const layers = [
  { name: 'base', paths: ['./'] },
  { name: 'contracts', paths: ['broker/', 'result/result-store.ts', 'result/states.ts'] },
  { name: 'result', paths: ['result/'] },
  { name: 'task', paths: ['task/'] },
  { name: 'canvas', paths: ['canvas/'] },
  { name: 'send', paths: ['send/'] },
  { name: 'events', paths: ['events/'] },
  { name: 'pool', paths: ['pool/'] },
  { name: 'work', paths: ['work/'] },
  { name: 'control', paths: ['control/'] },
  { name: 'bench', paths: ['bench/'] },
  { name: 'beat', paths: ['beat/'] },
  // Vendors stand at the edge: only the contracts are theirs to know, and only four may know them.
  {
    name: 'driver',
    paths: ['drivers/'],
    imports: ['base', 'contracts'],
    importedBy: ['app', 'monitor', 'cli', 'testing'],
  },
  { name: 'app', paths: ['app.ts', 'connect.ts', 'task-handle.ts', 'load-app.ts', 'pool-child.ts'] },
  { name: 'index', paths: ['index.ts'] },
  // What it stands on (an HTTP server, validation) is paid for by those who start it only.
  { name: 'monitor', paths: ['monitor/'], importedBy: ['cli'] },
  { name: 'cli', paths: ['cli/'] },
  { name: 'testing', paths: ['testing/'] },
]

const src = join(dirname(dirname(fileURLToPath(import.meta.url))), 'src')

const problems = readdirSync(src, { recursive: true })
  .map((file) => file.split(sep).join('/'))
  .filter((file) => file.endsWith('.ts'))
  .sort()
  .flatMap(problemsOf)
for (const problem of problems) console.error(problem)
if (problems.length > 0) {
  console.error(
    `\n${problems.length} against the import directions. The order: ${layers.map((l) => l.name).join(' → ')}`,
  )
  process.exit(1)
}

function problemsOf(file) {
  const from = layerOf(file)
  if (from === undefined)
    return [`src/${file}: its folder is in no layer; add it to the table in scripts/check-imports.mjs`]
  return importsOf(file).flatMap(({ specifier, line }) => {
    const at = `src/${file}:${line}`
    if (/^celeriac(\/|$)/.test(specifier)) return [`${at} imports '${specifier}': inside src/, import the file itself`]
    if (!specifier.startsWith('.')) return []
    const target = posix.join(posix.dirname(file), specifier)
    if (target.startsWith('../')) return [`${at} imports '${specifier}', which is outside src/`]
    const to = layerOf(target)
    if (to !== undefined && mayImport(from, to, file, target)) return []
    return [`${at} imports '${specifier}': ${from.name} may not import ${nameOf(to, from)}`]
  })
}

function nameOf(to, from) {
  if (to === undefined) return 'what is in no layer'
  return to === from ? `another ${to.name}` : to.name
}

function mayImport(from, to, file, target) {
  if (from === to) return from.name !== 'driver' || vendorOf(file) === vendorOf(target)
  if (from.imports && !from.imports.includes(to.name)) return false
  if (to.importedBy && !to.importedBy.includes(from.name)) return false
  return layers.indexOf(to) < layers.indexOf(from)
}

function layerOf(file) {
  const fits = (path) =>
    path === './' ? !file.includes('/') : path.endsWith('/') ? file.startsWith(path) : file === path
  const matches = layers.flatMap((layer) => layer.paths.filter(fits).map((path) => ({ layer, path })))
  return matches.sort((a, b) => b.path.length - a.path.length)[0]?.layer
}

function vendorOf(file) {
  return file.split('/')[1]
}

/** Every `import … from`, `export … from`, `import()` and bare `import` with the line it stands on, type-only or not. */
function importsOf(file) {
  const code = readFileSync(join(src, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, (c) =>
    c.replace(/[^\n]/g, ' '),
  )
  const found = code.matchAll(/(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s*)(['"`])([^'"`\n]+)\1/gm)
  return [...found].map((m) => ({ specifier: m[2], line: code.slice(0, m.index + m[0].length).split('\n').length }))
}
