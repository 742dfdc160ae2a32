/** Work that keeps a processor busy: the same for Celeriac's children and for the bare ones. */

/** Optimised code is in place long before this, in ms. */
const warmUpMs = 150

/** A fixed amount of work, not of time: who waits for a processor meanwhile takes longer. */
export function burn(rounds) {
  let x = 1
  for (let i = 0; i < rounds; i++) x = (Math.imul(x, 1_664_525) + 1_013_904_223) | 0
  return x
}

/** As in a child that has worked for a while. */
export function warmUp() {
  const end = performance.now() + warmUpMs
  while (performance.now() < end) burn(20_000)
}
