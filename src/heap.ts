/** A binary heap: whatever comes before all others is on top. Adding and taking cost log n. */
export class Heap<T> {
  readonly #comesBefore: (a: T, b: T) => boolean
  #items: T[] = []

  constructor(comesBefore: (a: T, b: T) => boolean) {
    this.#comesBefore = comesBefore
  }

  get size(): number {
    return this.#items.length
  }

  get top(): T | undefined {
    return this.#items[0]
  }

  push(item: T): void {
    const items = this.#items
    let place = items.length
    while (place > 0) {
      const parentPlace = (place - 1) >> 1
      const parent = items[parentPlace] as T
      if (!this.#comesBefore(item, parent)) break
      items[place] = parent
      place = parentPlace
    }
    items[place] = item
  }

  pop(): T | undefined {
    const items = this.#items
    const top = items[0]
    const last = items.pop()
    if (items.length > 0) this.#sink(last as T)
    return top
  }

  /** Puts an item into the empty place on top and lets it down to where it belongs. */
  #sink(item: T): void {
    const items = this.#items
    let place = 0
    for (;;) {
      let child = 2 * place + 1
      if (child >= items.length) break
      if (child + 1 < items.length && this.#comesBefore(items[child + 1] as T, items[child] as T)) child += 1
      if (!this.#comesBefore(items[child] as T, item)) break
      items[place] = items[child] as T
      place = child
    }
    items[place] = item
  }

  clear(): void {
    this.#items = []
  }

  /** Every item, in no order. */
  values(): Iterable<T> {
    return this.#items
  }

  /** Every item, in the order they would be taken. */
  sorted(): T[] {
    return [...this.#items].sort((a, b) => (this.#comesBefore(a, b) ? -1 : 1))
  }
}
