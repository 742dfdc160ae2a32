/** Numbers and times for people. */

export function count(n: number): string {
  return n.toLocaleString('en-GB')
}

export function rate(perS: number | null | undefined): string {
  if (perS === null || perS === undefined) return '–'
  if (perS === 0) return '0/s'
  if (perS < 0.1) return `${Number((perS * 60).toPrecision(2))}/min`
  return `${perS >= 100 ? count(Math.round(perS)) : Number(perS.toPrecision(2))}/s`
}

/** `3 ms`, `1.25 s`, `4 min 10 s`, `3 h 20 min`. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–'
  if (ms < 1) return '< 1 ms'
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(ms < 10_000 ? 2 : 1))} s`
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
    ['s', 1_000],
  ] as const
  const first = units.findIndex(([, unitMs]) => ms >= unitMs)
  const [unit, unitMs] = units[first] ?? units[3]
  const whole = Math.floor(ms / unitMs)
  const next = units[first + 1]
  const rest = next === undefined ? 0 : Math.floor((ms - whole * unitMs) / next[1])
  return `${whole} ${unit}${rest === 0 || next === undefined ? '' : ` ${rest} ${next[0]}`}`
}

export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined) return '–'
  if (n < 1_024) return `${n} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let value = n / 1_024
  let unit = 0
  for (; value >= 1_024 && unit < units.length - 1; unit += 1) value /= 1_024
  return `${value >= 100 ? Math.round(value) : Number(value.toPrecision(2))} ${units[unit]}`
}

export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? '–' : `${Math.round(share * 100)} %`
}

/** `12 s ago`, `in 3 min`. */
export function relative(at: number, now = Date.now()): string {
  const ms = at - now
  if (Math.abs(ms) < 1_000) return 'now'
  const text = duration(Math.floor(Math.abs(ms) / 1_000) * 1_000)
  return ms < 0 ? `${text} ago` : `in ${text}`
}

export function absolute(at: number): string {
  const date = new Date(at)
  const two = (n: number): string => String(n).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`
}
