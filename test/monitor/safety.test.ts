import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from 'celeriac'
import { afterAll, describe, expect, it } from 'vitest'
import { hashPassword, hashToken } from '../../src/monitor/auth/passwords.ts'
import { type KnownUser, readUsers, writeUser } from '../../src/monitor/auth/users.ts'
import { RequestLimits } from '../../src/monitor/http/limits.ts'
import { startMonitor } from '../../src/monitor/monitor.ts'
import { gate, memoryUrl, newApp, silent, until } from '../flow/fixture.ts'
import { monitoring } from './fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'celeriac-safety-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const users: KnownUser[] = [
  { name: 'vera', role: 'viewer', hash: hashToken('vera-token') },
  { name: 'otto', role: 'operator', hash: hashToken('otto-token') },
  { name: 'ada', role: 'admin', hash: hashToken('ada-token') },
  { name: 'paul', role: 'operator', hash: await hashPassword('correct horse') },
]
const as = (name: string) => ({ authorization: `Bearer ${name}-token` })
const send = { name: 'nobody.has.it', queue: 'nowhere' }

/** With headers that `fetch` does not let one set. */
function raw(url: string, method: string, path: string, headers: Record<string, string>) {
  return new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: string }>((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const asked = request({ hostname, port, method, path, headers }, (response) => {
      let body = ''
      response.on('data', (chunk) => {
        body += String(chunk)
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
    })
    asked.on('error', reject)
    asked.end()
  })
}

describe('who may come in', () => {
  it('lets nobody listen from elsewhere who names no users', async () => {
    const starting = startMonitor({ app: newApp(), db: ':memory:', host: '0.0.0.0', port: 0, logger: silent })

    await expect(starting).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('--users'),
    })
  })

  it('gives each role what is its own', async () => {
    const { ask } = await monitoring(memoryUrl(), { users })

    expect((await ask('get', '/overview')).status).toBe(401)
    expect((await ask('get', '/overview', undefined, as('eve'))).status).toBe(401)
    expect((await ask('get', '/overview', undefined, as('vera'))).status).toBe(200)
    expect((await ask('get', '/audit', undefined, as('vera'))).status).toBe(403)
    expect((await ask('post', '/tasks', send, as('vera'))).status).toBe(403)
    expect((await ask('post', '/tasks', send, as('otto'))).status).toBe(200)
    expect((await ask('post', '/dead-letters/discard', { letters: { queue: 'x' } }, as('otto'))).status).toBe(403)
    expect((await ask('post', '/dead-letters/discard', { letters: { queue: 'x' } }, as('ada'))).status).toBe(200)
  })

  it('refuses to change anything in read-only mode', async () => {
    const { ask } = await monitoring(memoryUrl(), { users, isReadOnly: true })

    const refused = await ask('post', '/tasks', send, as('ada'))

    expect(refused).toMatchObject({ status: 403, body: { error: { code: 'READ_ONLY' } } })
    expect((await ask('get', '/me', undefined, as('ada'))).body).toMatchObject({ name: 'ada', readOnly: true })
  })

  it('begins a session with a cookie that scripts and other sites do not get, and ends it', async () => {
    const { ask } = await monitoring(memoryUrl(), { users })

    const login = await ask(
      'post',
      '/login',
      { name: 'paul', password: 'correct horse' },
      { 'x-forwarded-proto': 'https' },
    )
    const cookie = login.headers.get('set-cookie') ?? ''
    const session = { cookie: cookie.split(';')[0] ?? '' }

    expect(login.body).toMatchObject({ name: 'paul', role: 'operator', canLogOut: true })
    expect(cookie).toMatch(/HttpOnly/)
    expect(cookie).toMatch(/SameSite=Strict/)
    expect(cookie).toMatch(/Secure/)
    expect((await ask('get', '/me', undefined, session)).body).toMatchObject({ name: 'paul', canLogOut: true })
    const ownPage = { ...session, 'sec-fetch-site': 'same-origin' }
    expect((await ask('post', '/logout', undefined, ownPage)).status).toBe(200)
    expect((await ask('get', '/me', undefined, session)).status).toBe(401)
  })

  it('makes who guesses passwords wait, and tells nobody which names there are', async () => {
    const { ask } = await monitoring(memoryUrl(), { users })
    const guess = (name: string) => ask('post', '/login', { name, password: 'wrong wrong' })

    const known = await guess('paul')
    const unknown = await guess('nobody')
    for (let time = 0; time < 6; time += 1) await ask('get', '/me', undefined, as('guessed'))

    expect(known).toMatchObject({ status: 401, body: unknown.body })
    expect((await ask('post', '/login', { name: 'paul', password: 'correct horse' })).status).toBe(429)
  })

  it('takes the word of a proxy, and of nobody else, for who it is', async () => {
    const proxy = { header: 'x-user', role: 'viewer', from: ['127.0.0.1'] } as const
    const trusting = await monitoring(memoryUrl(), { users, proxy })
    const wary = await monitoring(memoryUrl(), { users, proxy: { ...proxy, from: ['10.0.0.0/8'] } })

    expect((await trusting.ask('get', '/me', undefined, { 'x-user': 'new' })).body).toMatchObject({ role: 'viewer' })
    expect((await trusting.ask('get', '/me', undefined, { 'x-user': 'ada' })).body).toMatchObject({ role: 'admin' })
    expect((await wary.ask('get', '/me', undefined, { 'x-user': 'ada' })).status).toBe(401)
  })
})

describe('other sites', () => {
  it('cannot have a browser change anything', async () => {
    const { ask, url } = await monitoring(memoryUrl())
    const { host } = new URL(url)

    const post = async (headers: Record<string, string>) => (await ask('post', '/tasks', send, headers)).status

    expect(await post({ 'sec-fetch-site': 'cross-site' })).toBe(403)
    expect(await post({ origin: 'https://evil.example' })).toBe(403)
    expect(await post({ origin: 'null' })).toBe(403)
    expect(await post({ origin: `http://${host}` })).toBe(200)
    expect(await post({ 'content-type': 'text/plain' })).toBe(415)
  })

  it('cannot point a name of theirs at it', async () => {
    const { url } = await monitoring(memoryUrl(), { allowedHosts: ['tasks.example.org'] })

    const statusFor = async (host: string) => (await raw(url, 'GET', '/api/v1/overview', { host })).status

    expect(await statusFor('evil.example')).toBe(403)
    expect(await statusFor('tasks.example.org')).toBe(200)
    expect(await statusFor('localhost:5555')).toBe(200)
    expect((await raw(url, 'GET', '/', { host: 'evil.example', accept: 'text/html' })).status).toBe(403)
  })
})

describe('the audit', () => {
  it('has every change and every refusal, with who and from where, without secrets', async () => {
    const { ask } = await monitoring(memoryUrl(), { users })

    await ask('post', '/tasks', { ...send, kwargs: { password: 'hunter2' } }, as('otto'))
    await ask('post', '/tasks', send, as('vera'))
    await ask('post', '/tasks', send)
    await ask('post', '/login', { name: 'paul', password: 'hunter2 hunter2' })

    const { entries } = (await ask('get', '/audit', undefined, as('ada'))).body
    expect(entries).toMatchObject([
      { user: '-', action: 'POST /login', outcome: expect.stringMatching(/^UNAUTHORIZED/), target: { name: 'paul' } },
      { user: '-', action: 'POST /tasks', outcome: expect.stringMatching(/^UNAUTHORIZED/) },
      { user: 'vera', role: 'viewer', outcome: expect.stringMatching(/^ROLE/) },
      { user: 'otto', role: 'operator', outcome: 'done', target: { name: send.name, address: '127.0.0.1' } },
    ])
    expect(JSON.stringify(entries)).not.toMatch(/hunter2/)
  })
})

describe('input', () => {
  it('is refused where it does not fit, in words', async () => {
    const { ask, url } = await monitoring(memoryUrl())
    const status = async (path: string) => (await ask('get', path)).status

    expect(await status('/tasks?limit=5000')).toBe(400)
    expect(await status('/tasks?sate=FAILURE')).toBe(400)
    expect(await status('/tasks?limit=1&limit=2')).toBe(400)
    expect(await status('/overview?x=1')).toBe(400)
    expect(await status(`/tasks?text=${'a'.repeat(501)}`)).toBe(400)
    expect(await status('/tasks/unknown')).toBe(404)
    expect(await status('/nothing')).toBe(404)
    expect((await ask('delete', '/tasks')).status).toBe(405)
    expect(await ask('get', '/tasks?sate=FAILURE')).toMatchObject({
      body: { error: { code: 'CONFIG_INVALID', message: expect.stringContaining('sate') } },
    })
    expect((await ask('post', '/tasks', { ...send, args: ['a'.repeat(2 ** 20)] })).status).toBe(413)
    const deep = `${'['.repeat(5_000)}${']'.repeat(5_000)}`
    const nested = await fetch(`${url}/api/v1/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"name":"x","args":${deep}}`,
    })
    expect(nested.status).toBe(400)
    const broken = await fetch(`${url}/api/v1/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{',
    })
    expect(broken.status).toBe(400)
  })

  it('may come so often and no more', async () => {
    let nowMs = 0
    const limits = new RequestLimits({ ...systemClock, monotonic: () => nowMs })
    const ask = (address: string) => limits.within(address, async () => 'answered')
    for (let time = 0; time < 1_000; time += 1) await ask('10.0.0.1')

    await expect(ask('10.0.0.1')).rejects.toMatchObject({ status: 429 })
    await expect(ask('10.0.0.2')).resolves.toBe('answered')
    nowMs += 1_000
    await expect(ask('10.0.0.1')).resolves.toBe('answered')
  })

  it('may be answered for so many at once and no more', async () => {
    const limits = new RequestLimits(systemClock)
    const { opened, open } = gate()
    const waiting = Array.from({ length: 100 }, (_, number) => limits.within(`10.0.1.${number}`, () => opened))

    await expect(limits.within('10.0.2.1', () => opened)).rejects.toMatchObject({ status: 503 })
    open()
    await Promise.all(waiting)
    await expect(limits.within('10.0.2.1', async () => 'answered')).resolves.toBe('answered')
  })
})

describe('the pages', () => {
  const pages = join(folder, 'pages')

  it('are served with a strict policy, packed, kept by browsers, and nothing beside them', async () => {
    mkdirSync(join(pages, 'assets'), { recursive: true })
    writeFileSync(join(pages, 'index.html'), '<!doctype html><title>Celeriac</title>')
    writeFileSync(join(pages, 'assets', 'app-1a2b3c4d.js'), `export const x = '${'x'.repeat(2_000)}'`)
    writeFileSync(join(folder, 'secret.json'), '{"password":"hunter2"}')
    const { url } = await monitoring(memoryUrl(), { pages })
    const html = { accept: 'text/html' }

    const index = await fetch(`${url}/queues/default`, { headers: html })
    const script = await raw(url, 'GET', '/assets/app-1a2b3c4d.js', { 'accept-encoding': 'br, gzip' })

    expect(await index.text()).toContain('<title>Celeriac')
    expect(index.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self'/)
    expect(index.headers.get('x-content-type-options')).toBe('nosniff')
    expect(index.headers.get('cache-control')).toBe('no-cache')
    expect(script.headers).toMatchObject({
      ...{ 'content-encoding': 'br', 'content-type': expect.stringMatching(/javascript/) },
      'cache-control': expect.stringMatching(/immutable/),
    })
    const tag = index.headers.get('etag') ?? ''
    expect((await fetch(`${url}/`, { headers: { ...html, 'if-none-match': tag } })).status).toBe(304)
    expect((await fetch(`${url}/`, { method: 'HEAD', headers: html })).status).toBe(200)
    expect((await fetch(`${url}/assets/gone-1a2b3c4d.js`, { headers: html })).status).toBe(404)
    for (const path of ['/../secret.json', '/assets/../../secret.json', '/%2e%2e/secret.json', '/..%2fsecret.json']) {
      expect((await raw(url, 'GET', path, {})).status).toBe(404)
    }
  })
})

describe('the file of users', () => {
  it('is for its owner alone, and takes what was added to it', async () => {
    const path = join(folder, 'users.txt')

    writeUser(path, { name: 'ada', role: 'viewer', hash: hashToken('one') })
    writeUser(path, { name: 'ben', role: 'operator', hash: hashToken('two') })
    writeUser(path, { name: 'ada', role: 'admin', hash: hashToken('three') })

    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readUsers(path).map(({ name, role }) => `${name} ${role}`)).toEqual(['ben operator', 'ada admin'])
  })
})

describe('the file of the monitor', () => {
  it('is for its owner alone, and for one monitor alone', async () => {
    const db = join(folder, 'monitor.db')
    await monitoring(memoryUrl(), { db })

    const second = startMonitor({ app: newApp(), db, port: 0, logger: silent })

    expect(statSync(db).mode & 0o777).toBe(0o600)
    await expect(second).rejects.toMatchObject({ code: 'STORAGE_BUSY' })
  })

  it('says which port is taken', async () => {
    const { url } = await monitoring(memoryUrl())

    const second = startMonitor({ app: newApp(), db: ':memory:', port: Number(new URL(url).port), logger: silent })

    await expect(second).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('--port') })
  })
})

describe('secrets', () => {
  it('are in no answer, whatever a task was given, returned and threw', async () => {
    const broker = memoryUrl()
    const { get, app } = await monitoring(broker, { redaction: { tasks: ['billing.*'] } })
    const fail = app.task('fail', { maxRetries: 0 }, (_credentials: object) => {
      throw new Error('cannot reach postgres://ada:hunter2@db/x')
    })
    const bill = app.task('billing.charge', { maxRetries: 0 }, (card: string) => card)
    await app.worker({ taskEvents: true })

    const failed = await fail.delay({ password: 'hunter2' })
    const billed = await bill.delay('hunter2')
    await until(async () => (await get('/tasks?state=FAILURE&state=SUCCESS')).tasks.length === 2)
    await until(async () => (await get('/dead-letters')).length === 1)

    const paths = ['/tasks', `/tasks/${failed.id}`, `/tasks/${billed.id}`, '/dead-letters', '/dead-letters/groups']
    const answers = await Promise.all([...paths, `/dead-letters/${failed.id}`].map(get))
    expect(JSON.stringify(answers)).not.toMatch(/hunter2/)
    expect((await get('/tasks?text=hunter2')).tasks).toEqual([])
  })
})
