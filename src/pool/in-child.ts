/** Whether this process or thread is a child of a worker. Known to every copy of this package that is loaded here. */
const mark = Symbol.for('celeriac.child')

export function markAsChild(): void {
  Object.assign(globalThis, { [mark]: true })
}

export function isInChild(): boolean {
  return mark in globalThis
}
