import type { Finding, Sos } from '../../../src/monitor/api-types.ts'
import { call, useResource } from '../api.ts'
import { Action, Badge, Card, Loaded, Page, say, Time } from '../ui/basics.tsx'
import { ask } from '../ui/dialog.tsx'

const homes = { queue: '/queues/', worker: '/workers/', task: '/tasks?name=', schedule: '/schedules?name=' } as const

export function SosPage() {
  const sos = useResource<Sos>('/sos', 5_000)
  return (
    <Page
      title="SOS"
      actions={
        <button type="button" onClick={sos.reload}>
          Look again
        </button>
      }
    >
      <Loaded of={sos}>
        {({ findings, checked, at }) => (
          <div class="stack">
            <Card
              title="Found"
              extra={
                <span class="note">
                  looked <Time at={at} />
                </span>
              }
            >
              <FindingList findings={findings} reload={sos.reload} />
            </Card>
            <Card title="Checked">
              <ul class="checks">
                {checked.map(({ kind, title, level }) => (
                  <li key={kind}>
                    <Badge text={level} />
                    {title}
                  </li>
                ))}
              </ul>
            </Card>
          </div>
        )}
      </Loaded>
    </Page>
  )
}

export function FindingList({ findings, reload }: { findings: readonly Finding[]; reload: () => void }) {
  if (findings.length === 0) return <p class="good">All is well.</p>
  return (
    <div>
      {findings.map((finding) => (
        <div class="finding" key={`${finding.kind} ${finding.about.name} ${finding.message.slice(0, 20)}`}>
          <Badge text={finding.level} />
          <div>
            <About about={finding.about} /> {finding.message}
            {finding.command !== null && <pre class="quiet">{finding.command}</pre>}
          </div>
          <Remedy finding={finding} reload={reload} />
        </div>
      ))}
    </div>
  )
}

function About({ about: { kind, name } }: Pick<Finding, 'about'>) {
  if (kind === 'broker' || kind === 'monitor') return null
  return (
    <a href={homes[kind] + encodeURIComponent(name)}>
      {kind} {name}:
    </a>
  )
}

function Remedy({ finding: { remedy, message }, reload }: { finding: Finding; reload: () => void }) {
  if (remedy === null) return null
  const { label, method, path, body } = remedy
  return (
    <Action
      needs={path.endsWith('/shutdown') ? 'admin' : 'operator'}
      onClick={() =>
        ask({
          title: `${label}?`,
          text: message,
          verb: label,
          async act() {
            await call(method.toUpperCase() as 'POST', path, body)
            say(`${label}: done`)
            reload()
          },
        })
      }
    >
      {label}
    </Action>
  )
}
