/** What the server's management API says of it: its nodes together, and the policies of the virtual host. */
import type { ServerInfo } from '../../broker/broker.ts'
import type { Management } from './management.ts'

interface Node {
  readonly name?: string
  readonly mem_used?: number
  readonly mem_limit?: number
  readonly mem_alarm?: boolean
  readonly disk_free?: number
  readonly disk_free_alarm?: boolean
}

interface Policy {
  readonly name?: string
  readonly pattern?: string
  readonly definition?: Readonly<Record<string, unknown>>
}

interface Overview {
  readonly object_totals?: { readonly connections?: number }
}

type Managed = Omit<ServerInfo, 'product' | 'version'>

export async function readServer(management: Management): Promise<Managed> {
  const [nodes, overview, policies] = await Promise.all([
    management.get<readonly Node[]>('nodes'),
    management.get<Overview>('overview?columns=object_totals'),
    management.get<readonly Policy[]>('policies/VHOST'),
  ])
  const known = Array.isArray(nodes) ? (nodes as readonly Node[]) : []
  const sum = (of: (node: Node) => number | undefined): number | null =>
    known.length === 0 ? null : known.reduce((total, node) => total + (of(node) ?? 0), 0)
  return {
    memoryBytes: sum((node) => node.mem_used),
    memoryLimitBytes: sum((node) => node.mem_limit),
    connections: typeof overview === 'string' ? null : (overview.object_totals?.connections ?? null),
    fileBytes: null,
    facts: {
      ...(typeof nodes === 'string' ? { management: nodes } : Object.fromEntries(known.map(factOf))),
      ...(Array.isArray(policies) && { policies: textOf(policies as readonly Policy[]) }),
    },
  }
}

/** `node rabbit@one`: what it has left, and what it complains of. */
function factOf({ name, disk_free: free, mem_alarm: memory, disk_free_alarm: disk }: Node): [string, string] {
  const alarms = [...(memory ? ['memory alarm'] : []), ...(disk ? ['disk alarm'] : [])]
  const left = free === undefined ? 'well' : `${Math.floor(free / 2 ** 20).toLocaleString('en-US')} MB of disk free`
  return [`node ${name ?? ''}`, [left, ...alarms].join(', ')]
}

function textOf(policies: readonly Policy[]): string {
  if (policies.length === 0) return 'none'
  return policies
    .map(({ name, pattern, definition }) => `${name} (${pattern}): ${JSON.stringify(definition)}`)
    .join('; ')
}
