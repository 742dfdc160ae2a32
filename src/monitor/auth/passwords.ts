/**
 * Secrets as they are kept: passwords by scrypt, which is slow on purpose, tokens by SHA-256, because a random text of
 * 32 bytes cannot be guessed. The cost is that of OWASP's Password Storage Cheat Sheet (N = 2^16, r = 8, p = 2).
 */
import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { CeleriacError } from '../../errors.ts'

const cost = { N: 2 ** 16, r: 8, p: 2 }
/** scrypt takes 128·N·r bytes. */
const maxmem = 256 * 1024 * 1024
const keyLength = 32
/** What a file may ask for: a higher cost would stop the monitor with each login. */
const maxCost = { N: 2 ** 18, r: 16, p: 4 }

/** `scrypt$N$r$p$salt$key`, base64. */
export async function hashPassword(password: string): Promise<string> {
  if (password.length < 8 || password.length > 1_024) {
    throw new CeleriacError('CONFIG_INVALID', 'a password has 8 to 1024 characters')
  }
  const salt = randomBytes(16)
  const key = await derive(password, salt, cost)
  return ['scrypt', cost.N, cost.r, cost.p, salt.toString('base64'), key.toString('base64')].join('$')
}

/** `sha256$hash`. */
export function hashToken(token: string): string {
  return `sha256$${createHash('sha256').update(token).digest('base64')}`
}

export function newToken(): string {
  return randomBytes(32).toString('base64url')
}

export function isHash(text: string): boolean {
  return /^sha256\$[A-Za-z0-9+/]{43}=$/.test(text) || parse(text) !== undefined
}

/** Whether it is the secret of the hash, in a time that does not tell how close it was. */
export async function verify(secret: string, hash: string): Promise<boolean> {
  if (hash.startsWith('sha256$')) return isSame(Buffer.from(hashToken(secret)), Buffer.from(hash))
  const parsed = parse(hash)
  if (parsed === undefined || secret.length > 1_024) return false
  const { salt, key, ...costs } = parsed
  return isSame(await derive(secret, salt, costs), key)
}

/** As long as a login of somebody who is there: nobody learns which names are known. */
export async function verifyNobody(secret: string): Promise<false> {
  await derive(secret.slice(0, 1_024), Buffer.alloc(16), cost)
  return false
}

function parse(hash: string) {
  const [, N, r, p, salt = '', key = ''] = /^scrypt\$(\d+)\$(\d+)\$(\d+)\$([\w+/=]+)\$([\w+/=]+)$/.exec(hash) ?? []
  const costs = { N: Number(N), r: Number(r), p: Number(p) }
  const isAllowed = costs.N <= maxCost.N && costs.r <= maxCost.r && costs.p <= maxCost.p && costs.N >= 2 ** 14
  return isAllowed ? { ...costs, salt: Buffer.from(salt, 'base64'), key: Buffer.from(key, 'base64') } : undefined
}

function derive(secret: string, salt: Buffer, costs: typeof cost): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, keyLength, { ...costs, maxmem }, (error, key) => (error ? reject(error) : resolve(key)))
  })
}

function isSame(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}
