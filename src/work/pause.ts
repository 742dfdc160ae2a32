const retryPauseMs = { first: 50, longest: 5_000 }

/** Growing pauses with jitter, so that workers that failed together do not return together. */
export function pauseMs(failures: number): number {
  const ceiling = Math.min(retryPauseMs.longest, retryPauseMs.first * 2 ** failures)
  return ceiling / 2 + (Math.random() * ceiling) / 2
}
