/**
 * Who may use the monitor: a file with a line for each, `name:role:hash`. A hash of a password makes a user, one of a
 * token a program. Lines that begin with # and empty ones are passed over.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { CeleriacError } from '../../errors.ts'
import { isHash } from './passwords.ts'

/** Each may do what those before it may. */
export const roles = ['viewer', 'operator', 'admin'] as const
export type Role = (typeof roles)[number]

export interface User {
  readonly name: string
  readonly role: Role
}

export interface KnownUser extends User {
  readonly hash: string
}

export function mayAct(role: Role, needed: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(needed)
}

export function isRole(text: string): text is Role {
  return (roles as readonly string[]).includes(text)
}

/** @throws CeleriacError `CONFIG_INVALID` */
export function readUsers(path: string): KnownUser[] {
  const users = read(path)
    .split('\n')
    .map((line) => line.trim())
    .flatMap((line, index) => (line === '' || line.startsWith('#') ? [] : [userIn(line, `${path}, line ${index + 1}`)]))
  if (users.length === 0)
    throw new CeleriacError('CONFIG_INVALID', `${path} names no users; add one: ${howToAdd(path)}`)
  return users
}

/** Adds the user, or gives one that is there another role and secret. The file is for its owner alone. */
export function writeUser(path: string, { name, role, hash }: KnownUser): void {
  if (!/^[\w.@-]{1,100}$/.test(name)) {
    throw new CeleriacError('CONFIG_INVALID', `a user's name has letters, digits, '.', '@', '-' and '_', got '${name}'`)
  }
  const lines = exists(path)
    ? read(path)
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith(`${name}:`))
    : []
  writeFileSync(path, `${[...lines, `${name}:${role}:${hash}`].join('\n')}\n`, { mode: 0o600 })
}

export function howToAdd(path: string): string {
  return `celeriac monitor user ${path} NAME --role operator`
}

function userIn(line: string, where: string): KnownUser {
  const [name = '', role = '', hash = '', ...more] = line.split(':')
  if (name === '' || more.length > 0 || !isRole(role) || !isHash(hash)) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `${where} is not NAME:viewer|operator|admin:HASH, as \`celeriac monitor user\` writes it`,
    )
  }
  return { name, role, hash }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const why = (cause as Error).message
    throw new CeleriacError('CONFIG_INVALID', `the file of users cannot be read: ${why}. Make one: ${howToAdd(path)}`, {
      cause,
    })
  }
}
