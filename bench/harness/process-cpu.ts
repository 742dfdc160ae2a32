/** CPU time of other processes, from Linux's /proc. */
import { readFileSync } from 'node:fs'

/** Linux's USER_HZ: the unit of the times in /proc/PID/stat. */
const ticksPerSecond = 100

/** User and system time so far of a process and those it has started, in µs, to 10 ms; NaN where there is no /proc. */
export function treeCpuUs(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name before ')' may hold spaces; utime and stime are fields 14 and 15, counted from 1.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const ownUs = ((Number(fields[11]) + Number(fields[12])) / ticksPerSecond) * 1e6
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
    return children.reduce((sum, child) => sum + treeCpuUs(Number(child)), ownUs)
  } catch {
    return Number.NaN
  }
}
