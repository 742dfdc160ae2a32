interface Held {
  readonly token: number
  expiresAtMs: number
}

/** Who holds which name. Tokens are counted over all names, so that a name needs no memory once it is free. */
export class LockTable {
  readonly #held = new Map<string, Held>()
  #lastToken = 0

  /** @returns the token, or null while somebody holds the name */
  acquire(name: string, leaseMs: number, nowMs: number): number | null {
    const held = this.#held.get(name)
    if (held !== undefined && held.expiresAtMs > nowMs) return null
    this.#lastToken += 1
    this.#held.set(name, { token: this.#lastToken, expiresAtMs: nowMs + leaseMs })
    return this.#lastToken
  }

  renew(name: string, token: number, leaseMs: number, nowMs: number): boolean {
    const held = this.#held.get(name)
    if (held === undefined || held.token !== token || held.expiresAtMs <= nowMs) return false
    held.expiresAtMs = nowMs + leaseMs
    return true
  }

  /** The token of whoever holds the name, or of who held it last where nobody has let go of it since. */
  lastToken(name: string): number | undefined {
    return this.#held.get(name)?.token
  }

  release(name: string, token: number): void {
    if (this.#held.get(name)?.token === token) this.#held.delete(name)
  }
}
