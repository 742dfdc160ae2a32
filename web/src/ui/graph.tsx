/** A canvas as a graph: who sent whom, how each stands, and the way that took longest. */
import { graphlib, layout } from '@dagrejs/dagre'
import type { TaskNode } from '../../../src/monitor/api-types.ts'
import { duration } from '../format.ts'

const size = { width: 170, height: 44 }
/** More than these cannot be looked at as a graph. */
const most = 300

export function Graph({ root, own }: { root: TaskNode; own: string }) {
  const nodes: { readonly node: TaskNode; readonly parent: string | undefined }[] = []
  const collect = (node: TaskNode, parent: string | undefined): void => {
    if (nodes.length >= most) return
    nodes.push({ node, parent })
    for (const child of node.children) collect(child, node.id)
  }
  collect(root, undefined)
  const critical = criticalPath(root)
  const graph = new graphlib.Graph()
  graph.setGraph({ rankdir: 'LR', nodesep: 14, ranksep: 36, marginx: 6, marginy: 6 })
  graph.setDefaultEdgeLabel(() => ({}))
  for (const { node } of nodes) graph.setNode(node.id, { ...size })
  for (const { node, parent } of nodes) if (parent !== undefined) graph.setEdge(parent, node.id)
  layout(graph)
  const { width = 0, height = 0 } = graph.graph()
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
      <section class="graph" tabIndex={0} aria-label="The tasks it belongs to">
        <svg width={width} height={height}>
          <title>{`${nodes.length} tasks; the way that took longest goes through ${critical.size}`}</title>
          {graph.edges().map(({ v, w }: { v: string; w: string }) => {
            const points = (graph.edge({ v, w }) as { points: readonly { x: number; y: number }[] }).points
            const isCritical = critical.has(v) && critical.has(w)
            return (
              <path
                key={`${v} ${w}`}
                class={isCritical ? 'critical' : ''}
                d={points.map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${x},${y}`).join('')}
              />
            )
          })}
          {nodes.map(({ node }) => {
            const { x, y } = graph.node(node.id) as { x: number; y: number }
            const took = node.startedAt !== null && node.endedAt !== null ? duration(node.endedAt - node.startedAt) : ''
            return (
              <a
                key={node.id}
                href={`/tasks/${encodeURIComponent(node.id)}`}
                class={`${node.state} ${critical.has(node.id) ? 'critical' : ''} ${node.id === own ? 'self' : ''}`}
              >
                <g transform={`translate(${x - size.width / 2},${y - size.height / 2})`}>
                  <title>{`${node.name ?? node.id}: ${node.state} ${took}`}</title>
                  <rect width={size.width} height={size.height} rx="7" />
                  <text x="9" y="18">
                    {shortened(node.name ?? node.id)}
                  </text>
                  <text x="9" y="35">{`${node.state.toLowerCase()} ${took}`}</text>
                </g>
              </a>
            )
          })}
        </svg>
      </section>
      <p class="note">
        {nodes.length >= most ? `The first ${most} tasks. ` : ''}The bold way is the one that took longest.
      </p>
    </>
  )
}

/** From the root to what ended last, or has not ended. */
function criticalPath(root: TaskNode): ReadonlySet<string> {
  let latest: { readonly at: number; readonly way: readonly string[] } = { at: Number.NEGATIVE_INFINITY, way: [] }
  const visit = (node: TaskNode, before: readonly string[]): void => {
    const way = [...before, node.id]
    const at = node.endedAt ?? (node.startedAt === null ? 0 : Number.MAX_SAFE_INTEGER)
    if (at > latest.at || (at === latest.at && way.length > latest.way.length)) latest = { at, way }
    for (const child of node.children) visit(child, way)
  }
  visit(root, [])
  return new Set(latest.way)
}

function shortened(text: string): string {
  return text.length <= 22 ? text : `…${text.slice(-21)}`
}
