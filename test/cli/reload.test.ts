import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { onModuleChange } from '../../src/cli/reload.ts'

let folder: string
let changes: string[]
let stop: () => void

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'celeriac-reload-'))
  changes = []
  write('app.ts')
  write('lib/old.ts')
  write('node_modules/package/index.js')
  stop = onModuleChange(folder, silent, (file) => changes.push(file))
})

afterEach(() => {
  stop()
  rmSync(folder, { recursive: true, force: true })
})

function write(name: string): void {
  mkdirSync(dirname(join(folder, name)), { recursive: true })
  writeFileSync(join(folder, name), `export const at = ${performance.now()}\n`)
}

describe('watching the modules of an application', () => {
  it('tells of changes that come together once', async () => {
    write('lib/old.ts')
    write('app.ts')
    write('other.json')

    await expect.poll(() => changes).toEqual(['old.ts'])
  })

  it('sees folders that come later, and files that are put in the place of others', async () => {
    write('new/deep/first.ts')
    await expect.poll(() => changes).toHaveLength(1)

    write('new/deep/first.ts')
    await expect.poll(() => changes).toEqual([expect.any(String), 'first.ts'])

    write('.editor/copy.ts')
    renameSync(join(folder, '.editor/copy.ts'), join(folder, 'app.ts'))
    await expect.poll(() => changes).toEqual([expect.any(String), 'first.ts', 'app.ts'])
  })

  it('does not care for packages, hidden folders, databases and logs', async () => {
    write('node_modules/package/index.js')
    write('node_modules/other/index.js')
    write('.git/hook.js')
    write('tasks.db')
    write('tasks.db-wal')
    write('var/worker.log')
    write('app.ts')

    await expect.poll(() => changes).toEqual(['app.ts'])
  })
})
