import type { AuditEntry } from '../../../src/monitor/api-types.ts'
import { useResource } from '../api.ts'
import { query, withQuery } from '../router.ts'
import { Badge, Card, Loaded, Page, Table, Time } from '../ui/basics.tsx'
import { Value } from '../ui/tree.tsx'

export function Audit() {
  const before = query.value.get('before')
  const audit = useResource<{ entries: readonly AuditEntry[]; next: number | null }>(
    `/audit?limit=100${before === null ? '' : `&before=${before}`}`,
  )
  return (
    <Page title="Audit">
      <Loaded of={audit}>
        {({ entries, next }) => (
          <Card label="Who changed what">
            {entries.length === 0 ? (
              <p class="note">Nobody has changed anything yet.</p>
            ) : (
              <Table
                caption="Who changed what, the latest first"
                rows={entries}
                keyOf={({ no }) => String(no)}
                columns={[
                  { title: 'When', of: ({ at }) => <Time at={at} /> },
                  { title: 'Who', of: ({ user, role }) => `${user}${role === '' ? '' : ` (${role})`}` },
                  { title: 'What', of: ({ action }) => <code>{action}</code> },
                  {
                    title: 'Outcome',
                    of: ({ outcome }) =>
                      outcome === 'done' ? <Badge text="done" /> : <span class="bad">{outcome}</span>,
                  },
                  { title: 'To what', isMinor: true, of: ({ target }) => <Value value={target} /> },
                ]}
              />
            )}
            {next !== null && (
              <a class="button" href={withQuery({ before: String(next) })}>
                Older
              </a>
            )}
          </Card>
        )}
      </Loaded>
    </Page>
  )
}
