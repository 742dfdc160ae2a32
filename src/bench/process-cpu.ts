/** CPU time of a process on this machine, from Linux's /proc (man 5 proc_pid_stat). */
import { readFileSync } from 'node:fs'

/** Linux's USER_HZ, the unit of the times in /proc/PID/stat: 100 on every platform that Node runs on. */
const ticksPerSecond = 100

/** User and system time so far, in ms, to 10 ms; undefined where there is no such process, or no /proc. */
export function processCpuMs(pid: number): number | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The name before ')' may hold spaces; utime and stime are fields 14 and 15, counted from 1.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11]) + Number(fields[12])
  return Number.isFinite(ticks) ? (ticks * 1_000) / ticksPerSecond : undefined
}
