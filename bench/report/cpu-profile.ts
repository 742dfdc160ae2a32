/** Reads what `node --cpu-prof` writes: a tree of functions and the samples that fell on them. */

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[]
}

interface Line {
  readonly where: string
  readonly file: string
  selfUs: number
  totalUs: number
}

/** The functions with most time of their own, and the files, as text. `(idle)` is left out of the whole. */
export function profileReport(json: string, top: number): string {
  const { nodes, samples, timeDeltas } = JSON.parse(json) as CpuProfile
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map<number, number>()
  for (const { id, children = [] } of nodes) for (const child of children) parents.set(child, id)

  const selfUs = new Map<number, number>()
  samples.forEach((id, i) => {
    selfUs.set(id, (selfUs.get(id) ?? 0) + (timeDeltas[i] ?? 0))
  })

  const lines = new Map<string, Line>()
  const lineOf = (id: number): Line => {
    const { functionName, url, lineNumber } = (byId.get(id) as CpuProfile['nodes'][number]).callFrame
    const file = shortened(url)
    const where = `${functionName === '' ? '(anonymous)' : functionName}  ${file}${url === '' ? '' : `:${lineNumber + 1}`}`
    const line = lines.get(where) ?? { where, file: file === '' ? functionName : file, selfUs: 0, totalUs: 0 }
    lines.set(where, line)
    return line
  }
  let wholeUs = 0
  for (const [id, us] of selfUs) {
    const line = lineOf(id)
    if (line.where.startsWith('(idle)')) continue
    wholeUs += us
    line.selfUs += us
    const counted = new Set<Line>() // a recursive function's time counts once
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) counted.add(lineOf(at))
    for (const above of counted) above.totalUs += us
  }

  const files = new Map<string, number>()
  for (const { file, selfUs } of lines.values()) files.set(file, (files.get(file) ?? 0) + selfUs)
  const row = (us: number, text: string): string =>
    `${((us / wholeUs) * 100).toFixed(1).padStart(6)} %  ${(us / 1_000).toFixed(1).padStart(8)} ms  ${text}`
  const ranked = <T>(entries: readonly T[], us: (entry: T) => number): T[] =>
    entries
      .filter((entry) => us(entry) > 0)
      .sort((a, b) => us(b) - us(a))
      .slice(0, top)

  return [
    'self time by function',
    ...ranked([...lines.values()], (line) => line.selfUs).map((line) => row(line.selfUs, line.where)),
    '',
    'time with callees, by function',
    ...ranked([...lines.values()], (line) => line.totalUs).map((line) => row(line.totalUs, line.where)),
    '',
    'self time by file',
    ...ranked([...files], ([, us]) => us).map(([file, us]) => row(us, file)),
  ].join('\n')
}

/** The part of a URL that says which file it is: from `dist/`, `bench/` or the package's name on. */
function shortened(url: string): string {
  return /(?:node_modules\/|\/(?=dist\/|bench\/))(.*)$/.exec(url)?.[1] ?? url
}
