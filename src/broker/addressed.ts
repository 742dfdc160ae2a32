/** Whether a control command is for a node (`kombu/pidbox.py`, `kombu/matcher.py`). */
export interface Addressed {
  readonly destination?: unknown
  readonly pattern?: unknown
  readonly matcher?: unknown
}

/** A pattern that cannot be read matches nobody. */
export function isFor(node: string, { destination, pattern, matcher }: Addressed): boolean {
  if (Array.isArray(destination) && destination.length > 0) return destination.includes(node)
  if (typeof pattern !== 'string' || pattern === '') return true
  try {
    return (matcher === 'pcre' ? new RegExp(`^(?:${pattern})`) : globPattern(pattern)).test(node)
  } catch {
    return false
  }
}

/** Shell wildcards, as Python's `fnmatch` has them: `*`, `?`, `[abc]`, `[!abc]`. */
function globPattern(glob: string): RegExp {
  const source = glob.replace(
    /\[(!?)([^\]]+)\]|[*?]|[\\^$.|+(){}[\]]/g,
    (found, not: string, set: string | undefined) => {
      if (set !== undefined) return `[${not === '!' ? '^' : ''}${set.replace(/\\/g, '\\\\')}]`
      if (found === '*') return '.*'
      return found === '?' ? '.' : `\\${found}`
    },
  )
  return new RegExp(`^${source}$`, 's')
}
