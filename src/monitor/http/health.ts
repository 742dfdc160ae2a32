/** Whether the monitor does its work: the broker answers, events come in, and what comes can be stored. */
import type { ApiParts } from '../api/parts.ts'

/** Without a successful look for so long, the broker is taken for gone. */
const brokerPatienceMs = 20_000
/** Workers beat every two seconds; where all that answer have been silent for so long, their events do not arrive. */
const beatPatienceMs = 60_000

export interface Health {
  readonly ok: boolean
  /** What is wrong, for people. */
  readonly problems: readonly string[]
}

export function healthOf({ collector, clock, redaction }: ApiParts, startedAtMs: number): Health {
  const nowMs = clock.now()
  const problems: string[] = []
  const lookedMs = nowMs - (collector.queues.lookedAtMs ?? startedAtMs)
  if (lookedMs > brokerPatienceMs) {
    problems.push(`the broker has not answered for ${Math.round(lookedMs / 1_000)} s`, ...collector.troubles)
  }
  if (collector.losesEvents) problems.push('events cannot be stored; is the disk full?')
  const beating = collector.workers
    .all()
    .filter(({ freq, answeredAt, heardAt }) => freq > 0 && heardAt !== null && nowMs - answeredAt < beatPatienceMs)
  const latestMs = Math.max(...beating.map(({ heardAt }) => heardAt ?? 0))
  if (beating.length > 0 && nowMs - latestMs > beatPatienceMs) {
    problems.push('workers answer, but none of their events comes in')
  }
  return { ok: problems.length === 0, problems: problems.map((problem) => redaction.text(problem)) }
}
