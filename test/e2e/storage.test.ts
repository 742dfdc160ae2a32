/** What becomes of work when the storage fails: each failure is one clear error, and nothing is lost. */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type Celeriac, CeleriacError, systemClock } from 'celeriac'
import Database from 'libsql'
import { afterAll, describe, expect, it } from 'vitest'
import { Bell } from '../../src/drivers/sqlite/bell.ts'
import { gate, newApp, recordingLogger, rejection, skipAhead, until } from '../flow/fixture.ts'
import { hears, newFolder, start } from './processes.ts'

function newPath(): string {
  return join(newFolder(), 'queue.db')
}

/** An application on a file, with a task to send. */
function appOn(path: string): { app: Celeriac; add: ReturnType<typeof defineAdd> } {
  const app = newApp({ broker: `sqlite://${path}` })
  return { app, add: defineAdd(app) }
}

function defineAdd(app: Celeriac) {
  return app.task('add', (x: number, y: number) => x + y)
}

describe('a file that cannot be opened', () => {
  it('because its folder does not exist: BROKER_UNAVAILABLE', async () => {
    const { app, add } = appOn('/no/such/folder/queue.db')

    const error = await rejection(add.delay(1, 2))

    expect(error).toBeInstanceOf(CeleriacError)
    expect(error.code).toBe('BROKER_UNAVAILABLE')
    expect(error.message).toMatch(
      /^the database \/no\/such\/folder\/queue\.db cannot be opened: check that its folder exists and may be written \(.+\)$/,
    )
    expect(await rejection(app.worker())).toMatchObject({ code: 'BROKER_UNAVAILABLE' })
  })

  it('because it is no database: STORAGE_CORRUPT, and it is left as it was', async () => {
    const path = newPath()
    writeFileSync(path, 'Dear diary, '.repeat(1_000))

    const error = await rejection(appOn(path).add.delay(1, 2))

    expect(error.code).toBe('STORAGE_CORRUPT')
    expect(error.message).toBe(
      `${path} is not a readable SQLite database. If it is another file, choose another path; if it was damaged, ` +
        'restore a backup or recover it with `sqlite3 FILE .recover`',
    )
    expect(readFileSync(path, 'utf8')).toBe('Dear diary, '.repeat(1_000))
  })

  it('because it is the database of another application: refused, and left as it was', async () => {
    const path = newPath()
    const other = new Database(path)
    other.exec('CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT)')
    other.close()
    const before = readFileSync(path)

    const error = await rejection(appOn(path).add.delay(1, 2))

    expect(error).toMatchObject({
      code: 'STORAGE_CORRUPT',
      message: `${path} is a SQLite database of something else; choose another path`,
    })
    expect(readFileSync(path).equals(before)).toBe(true)
  })

  it('because another version made it: refused', async () => {
    const path = newPath()
    const other = new Database(path)
    other.exec('PRAGMA user_version = 99')
    other.close()

    const error = await rejection(appOn(path).add.delay(1, 2))

    expect(error.message).toMatch(/was made by another version of celeriac \(layout 99, this one reads \d+\)$/)
  })

  it('works as soon as the trouble is over, with the same application', async () => {
    const path = newPath()
    writeFileSync(path, 'x'.repeat(10_000))
    const { app, add } = appOn(path)
    await rejection(add.delay(1, 2))

    rmSync(path)
    await app.worker()

    expect(await (await add.delay(1, 2)).get()).toBe(3)
  })
})

describe('a file that is damaged', () => {
  it('answers with STORAGE_CORRUPT', async () => {
    const path = newPath()
    const { app, add } = appOn(path)
    await add.delayMany(Array.from({ length: 2_000 }, () => [1, 2]))
    await app.close()
    const file = openSync(path, 'r+')
    writeSync(file, Buffer.alloc(statSync(path).size - 8_192, 0xa5), 0, undefined, 8_192)
    closeSync(file)

    const error = await rejection(add.delay(1, 2))
    await app.close()

    expect(error.code).toBe('STORAGE_CORRUPT')
    expect(error.message).toContain('restore a backup')
  })
})

/** Time flies until the promise is settled. */
async function outwaited<T>(promise: Promise<T>): Promise<T> {
  let isSettled = false
  const settled = promise.finally(() => {
    isSettled = true
  })
  await until(() => {
    skipAhead(2_000)
    return isSettled
  })
  return settled
}

describe('a file that another process has locked', () => {
  it('is waited for', async () => {
    const path = newPath()
    const { app, add } = appOn(path)
    await app.open()
    const holder = start('lock-holder.mjs', [path])
    await hears(holder, 'locked')
    let isSent = false

    const sending = add.delay(1, 2).finally(() => {
      isSent = true
    })
    await until(async () => (await app.broker.depth('celery')).ready === 0)
    expect(isSent).toBe(false)
    holder.kill('SIGKILL')

    expect(await (await sending).state()).toBe('PENDING')
  })

  it('for too long is STORAGE_BUSY; nothing was sent, and it works again after that', async () => {
    const path = newPath()
    const { app, add } = appOn(path)
    await app.open()
    const holder = start('lock-holder.mjs', [path])
    await hears(holder, 'locked')

    const error = await outwaited(rejection(add.delay(1, 2)))
    const late = appOn(path)
    const errorOfOpen = await outwaited(rejection(late.app.open()))
    holder.kill('SIGKILL')
    await holder.ended

    expect(error).toMatchObject({
      code: 'STORAGE_BUSY',
      message: `another process holds a lock on ${path}; nothing was stored`,
    })
    expect(errorOfOpen).toMatchObject({ code: 'STORAGE_BUSY' })
    expect(await app.broker.depth('celery')).toMatchObject({ ready: 0 })
    await app.worker()
    expect(await (await add.delay(1, 2)).get()).toBe(3)
    expect(await (await late.add.delay(3, 4)).get()).toBe(7)
  })

  it('does not cost a worker its finished work', async () => {
    const path = newPath()
    const app = newApp({ broker: `sqlite://${path}` })
    const { opened, open } = gate()
    let runs = 0
    const slow = app.task('slow', async () => {
      runs += 1
      await opened
      return 'done'
    })
    await app.worker()
    const result = await slow.delay()
    await until(() => runs === 1)
    const holder = start('lock-holder.mjs', [path])
    await hears(holder, 'locked')

    open()
    await new Promise(setImmediate)
    holder.kill('SIGKILL')

    expect(await result.get()).toBe('done')
    expect(runs).toBe(1)
  })
})

/** A file system of two megabytes, or why there can be none. */
function mountSmall(): { folder: string } | { reason: string } {
  const folder = newFolder()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder], { stdio: 'pipe' })
    mounted.push(folder)
    return { folder }
  } catch (error) {
    return { reason: `no tmpfs can be mounted here, which needs root: ${(error as Error).message}` }
  }
}

const mounted: string[] = []

afterAll(() => {
  for (const folder of mounted) execFileSync('umount', ['--lazy', folder])
})

/** Takes all the room there is; `free` gives it back. */
function fill(folder: string): { free(): void } {
  const ballast = join(folder, 'ballast')
  const file = openSync(ballast, 'w')
  try {
    for (const chunk of [Buffer.alloc(65_536), Buffer.alloc(4_096)]) {
      try {
        for (;;) writeSync(file, chunk)
      } catch {
        // Full; the smaller chunk fills the rest.
      }
    }
  } finally {
    closeSync(file)
  }
  return { free: () => rmSync(ballast) }
}

describe('a full disk', () => {
  it('refuses what is sent with STORAGE_FULL, and keeps what it had accepted', async (context) => {
    const site = mountSmall()
    if ('reason' in site) {
      console.warn(`SKIPPED: ${site.reason}`)
      return context.skip(site.reason)
    }
    const path = join(site.folder, 'queue.db')
    const app = newApp({ broker: `sqlite://${path}` })
    const measure = app.task('measure', (text: string) => text.length)
    const accepted: Awaited<ReturnType<typeof measure.delay>>[] = []

    let error: CeleriacError | undefined
    while (error === undefined && accepted.length < 1_000) {
      await measure.delay('x'.repeat(20_000)).then(
        (result) => accepted.push(result),
        (refusal: CeleriacError) => {
          error = refusal
        },
      )
    }

    expect(error).toMatchObject({
      code: 'STORAGE_FULL',
      message: `the disk that holds ${path} is full; nothing was stored. Free some space and try again`,
    })
    expect(accepted.length).toBeGreaterThan(10)
    expect(await app.broker.depth('celery')).toMatchObject({ ready: accepted.length })
    execFileSync('mount', ['-o', 'remount,size=16m', site.folder])
    await app.worker()
    expect(await Promise.all(accepted.map((result) => result.get()))).toEqual(accepted.map(() => 20_000))
  })

  it('holds up a worker, which stores its finished work when there is room again', async (context) => {
    const site = mountSmall()
    if ('reason' in site) return context.skip(site.reason)
    const { logger, lines } = recordingLogger()
    const app = newApp({ broker: `sqlite://${join(site.folder, 'queue.db')}`, logger })
    const { opened, open } = gate()
    let runs = 0
    const slow = app.task('slow', async (n: number) => {
      runs += 1
      await opened
      return n
    })
    const worker = await app.worker()
    const results = await slow.delayMany([[1], [2], [3]])
    await until(() => runs === 3)

    const ballast = fill(site.folder)
    open()
    await until(() => lines.includes('error: the outcome could not be stored yet; trying again'))
    const refused = await rejection(slow.delay(4))
    expect(await results[0]?.state()).toBe('PENDING')
    ballast.free()

    expect(await Promise.all(results.map((result) => result.get()))).toEqual([1, 2, 3])
    expect(refused.code).toBe('STORAGE_FULL')
    expect(runs).toBe(3)
    expect(await (await slow.delay(5)).get()).toBe(5)
    expect(worker.health().ok).toBe(true)
  })

  it('is said when the file is to be made there', async (context) => {
    const site = mountSmall()
    if ('reason' in site) return context.skip(site.reason)
    const path = join(site.folder, 'queue.db')
    const { app, add } = appOn(path)
    const ballast = fill(site.folder)

    const error = await rejection(add.delay(1, 2))
    ballast.free()

    expect(error.code).toBe('STORAGE_FULL')
    await app.worker()
    expect(await (await add.delay(1, 2)).get()).toBe(3)
    expect(existsSync(path)).toBe(true)
  })

  it('does not keep the bell from being rung, by which processes wake each other', (context) => {
    const site = mountSmall()
    if ('reason' in site) return context.skip(site.reason)
    const bell = new Bell(join(site.folder, 'queue.db'), systemClock, () => undefined)
    fill(site.folder)

    expect(() => bell.ring()).not.toThrow()

    bell.close()
  })
})
