/**
 * A member's part in a join, as Celery keeps it: `[1, "<task id>", "<STATE>", <value or error>]` in the sorted set of
 * the group's parts, scored by the member's place (`celery/backends/redis.py`, `on_chord_part_return`). Python counts
 * these texts, so the same part must be the same bytes whoever writes it: spaced and escaped like Python's `json.dumps`.
 */
import { parseJson } from '../../json.ts'
import type { JoinPart } from '../../result/result-store.ts'

export function encodePart({ memberId, state, result }: JoinPart): string {
  return `[1, ${pythonJson(memberId)}, ${pythonJson(state)}, ${pythonJson(result)}]`
}

/** @returns undefined for a text that is no part */
export function decodePart(text: string, score: string): JoinPart | undefined {
  let part: unknown
  try {
    part = parseJson(text)
  } catch {
    return undefined
  }
  if (!Array.isArray(part)) return undefined
  const [, memberId, state, result] = part as unknown[]
  if (typeof memberId !== 'string' || typeof state !== 'string') return undefined
  return { memberId, index: readScore(score), state, result: result ?? null }
}

/** Members without a place come last, as in Celery. */
export function scoreOf({ index }: JoinPart): string {
  return Number.isFinite(index) ? String(index) : '+inf'
}

function readScore(score: string): number {
  return score === 'inf' ? Number.POSITIVE_INFINITY : Number(score)
}

/** JSON in the bytes of Python's `json.dumps`: a space behind each comma and colon, ASCII only. */
function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, item]) => item !== undefined)
    return `{${members.map(([key, item]) => `${pythonJson(key)}: ${pythonJson(item)}`).join(', ')}}`
  }
  if (typeof value === 'bigint') return String(value)
  const json = JSON.stringify(value) ?? 'null'
  return typeof value === 'string' ? json.replace(/[\u007f-\uffff]/g, escapeUnit) : json
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}
