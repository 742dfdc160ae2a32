/**
 * npm starts our scripts through a shell. A signal sent to npm reaches the shell, which on many systems ends without
 * passing it on: npm is gone and the program runs on, unseen. So a program that has lost its parent tells itself.
 */

/** Sends this process SIGTERM once its parent is gone, unless it has been told to end already. */
export function endWithParent() {
  if (process.env.npm_lifecycle_event === undefined) return
  let told = false
  const note = () => {
    told = true
  }
  // A signal with a listener no longer ends the process by itself, so we listen only beside the program's own listeners.
  process.on('newListener', (event, listener) => {
    if (!isEnding(event) || listener === note || process.listeners(event).includes(note)) return
    process.prependListener(event, note)
  })
  process.on('removeListener', (event) => {
    if (isEnding(event) && process.listeners(event).every((listener) => listener === note)) process.off(event, note)
  })
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    if (!told) process.kill(process.pid, 'SIGTERM')
  }, 250)
  watch.unref()
}

function isEnding(event) {
  return event === 'SIGINT' || event === 'SIGTERM'
}
