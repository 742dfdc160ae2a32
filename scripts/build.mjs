/** `npm run build`, and for the other scripts `buildIfStale()`: src/ compiled to dist/, web/ to dist/web/. */
import './node-version.mjs'
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installPackages } from './install.mjs'
import { root, runBin, StepFailed, say, script } from './process.mjs'

const src = join(root, 'src')
const dist = join(root, 'dist')
const web = join(root, 'web')
const pages = join(dist, 'web')

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(async () => {
    await installPackages()
    await build()
  })
}

/** Compiles when dist/ is not newer than every source file, so that a second start is quick. */
export async function buildIfStale() {
  if (isFresh()) return
  say('Building …')
  await build()
}

/** Compiles src/ to dist/. On a type error nothing is written, so that dist/ is never half new. */
export async function build() {
  const { code, output } = await runBin('typescript', 'tsc', ['-p', 'tsconfig.build.json', '--noEmitOnError'])
  if (code !== 0) {
    throw new StepFailed('src/ does not compile', {
      output,
      advice: 'mend the errors above; `npm run check` is quick.',
    })
  }
  removeOrphans()
  if (!arePagesFresh()) await buildPages()
}

async function buildPages() {
  const { code, output } = await runBin('vite', 'vite', ['build', '--config', join(web, 'vite.config.ts')])
  if (code !== 0)
    throw new StepFailed('the pages in web/ cannot be built', { output, advice: 'mend the errors above.' })
}

function arePagesFresh() {
  const built = join(pages, 'index.html')
  const sources = [...filesIn(web), join(src, 'monitor/api-types.ts'), join(root, 'package-lock.json')]
  return existsSync(built) && Math.max(...sources.map(modifiedMs)) < modifiedMs(built)
}

function isFresh() {
  return isCodeFresh() && arePagesFresh()
}

function isCodeFresh() {
  const sources = filesIn(src)
  const outputs = sources.filter(isSource).map(outputOf)
  if (outputs.length === 0 || !outputs.every((file) => existsSync(file))) return false
  const inputs = [
    ...sources,
    join(root, 'tsconfig.json'),
    join(root, 'tsconfig.build.json'),
    join(root, 'package-lock.json'),
  ]
  return Math.max(...inputs.map(modifiedMs)) < Math.min(...outputs.map(modifiedMs)) && orphans().length === 0
}

/** tsc leaves the output of deleted and renamed sources behind, which would be published and could be imported. */
function removeOrphans() {
  for (const file of orphans()) rmSync(file)
}

function orphans() {
  const stems = new Set(
    filesIn(src)
      .filter(isSource)
      .map((file) => relative(src, file).replace(/\.ts$/, '')),
  )
  const compiled = filesIn(dist).filter((file) => relative(pages, file).startsWith('..'))
  return compiled.filter((file) => !stems.has(relative(dist, file).replace(/\.(js|d\.ts)(\.map)?$/, '')))
}

function isSource(file) {
  return file.endsWith('.ts') && !file.endsWith('.d.ts')
}

function outputOf(source) {
  return join(dist, relative(src, source).replace(/\.ts$/, '.js'))
}

function modifiedMs(file) {
  return statSync(file).mtimeMs
}

function filesIn(folder) {
  if (!existsSync(folder)) return []
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name))
}
