/** Tells those who wait that something has changed; what it was, they look up themselves. */
export class Bell {
  readonly #listeners = new Set<() => void>()

  /** @returns stops listening */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  ring(): void {
    for (const listener of this.#listeners) listener()
  }
}
