/** Milliseconds on CLOCK_MONOTONIC, with fractions: comparable between the processes of one machine. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}

/** Checks `done` every `everyMs` until it holds. @throws Error once `limitMs` have passed */
export async function until(done: () => boolean | Promise<boolean>, everyMs: number, limitMs: number): Promise<void> {
  const end = nowMs() + limitMs
  while (!(await done())) {
    if (nowMs() > end) throw new Error(`gave up waiting after ${limitMs} ms`)
    await pause(everyMs)
  }
}
