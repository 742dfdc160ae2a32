import type { Alert, AlertChannel, AlertEvent, AlertRule } from '../../../src/monitor/api-types.ts'
import { call, useResource } from '../api.ts'
import { count, duration, percent } from '../format.ts'
import { alertChanges, useChanges } from '../live.ts'
import { Action, Badge, Card, Loaded, Page, say, Table, Time } from '../ui/basics.tsx'
import { ask, chosenOf, type Field } from '../ui/dialog.tsx'

/** What each kind measures, and its unit: ms are asked for in seconds, shares in percent. */
const kinds = {
  depth: ['Messages that wait in a queue', 1],
  oldest: ['How long the first of a queue waits, s', 1_000],
  'error-rate': ['Share of failures of a task, %', 0.01],
  'silent-worker': ['How long a worker was not heard, s', 1_000],
  'missed-beat': ['How late a schedule is, s', 1_000],
  'dead-letters': ['Dead letters of a queue', 1],
  memory: ["Share of a worker's memory, %", 0.01],
} as const satisfies Record<AlertRule['kind'], readonly [string, number]>

export function Alerts() {
  const alerts = useResource<readonly Alert[]>('/alerts', 5_000)
  const rules = useResource<readonly AlertRule[]>('/alerts/rules')
  const channels = useResource<readonly AlertChannel[]>('/alerts/channels')
  const history = useResource<{ entries: readonly AlertEvent[] }>('/alerts/history?limit=50')
  useChanges(alertChanges, true, () => {
    alerts.reload()
    history.reload()
  })
  return (
    <Page title="Alerts">
      <div class="stack">
        <Card title="Now">
          <Loaded of={alerts} empty="Nothing fires.">
            {(data) => (
              <Table
                caption="What fires, and what is about to"
                rows={data}
                keyOf={({ rule, target }) => `${rule} ${target}`}
                columns={[
                  { title: 'State', of: ({ state }) => <Badge text={state} /> },
                  { title: 'Rule', of: ({ name }) => name },
                  { title: 'What', of: ({ message }) => message },
                  { title: 'Since', of: ({ since }) => <Time at={since} /> },
                ]}
              />
            )}
          </Loaded>
        </Card>
        <Card
          title="Rules"
          extra={
            <Action needs="operator" onClick={() => askRule(undefined, channels.data ?? [], rules.reload)}>
              New rule …
            </Action>
          }
        >
          <Loaded of={rules} empty="No rules yet. A good first one: dead letters, from 1 on.">
            {(data) => (
              <Table
                caption="Rules"
                rows={data}
                keyOf={({ id }) => id}
                columns={[
                  {
                    title: 'Name',
                    of: ({ name, isEnabled }) => (
                      <>
                        {name} {!isEnabled && <Badge text="off" />}
                      </>
                    ),
                  },
                  {
                    title: 'Fires',
                    of: (rule) =>
                      `${rule.kind} of ${rule.target} from ${shownValue(rule.kind, rule.threshold)} on${rule.forMs === 0 ? '' : `, for ${duration(rule.forMs)}`}`,
                  },
                  {
                    title: 'Tells',
                    of: (rule) =>
                      rule.channels
                        .map((id) => channels.data?.find((channel) => channel.id === id)?.name ?? id)
                        .join(', ') || 'nobody',
                  },
                  {
                    title: '',
                    of: (rule) => (
                      <div class="actions">
                        <Action needs="operator" onClick={() => askRule(rule, channels.data ?? [], rules.reload)}>
                          Edit …
                        </Action>
                        <Action
                          needs="operator"
                          kind="danger"
                          onClick={() =>
                            ask({
                              title: `Remove ${rule.name}?`,
                              verb: 'Remove',
                              isDangerous: true,
                              act: () => call('DELETE', `/alerts/rules/${rule.id}`).then(rules.reload),
                            })
                          }
                        >
                          Remove …
                        </Action>
                      </div>
                    ),
                  },
                ]}
              />
            )}
          </Loaded>
        </Card>
        <Card title="Channels" extra={<NewChannel reload={channels.reload} />}>
          <Loaded of={channels} empty="Alerts are told to nobody yet.">
            {(data) => (
              <Table
                caption="Channels"
                rows={data}
                keyOf={({ id }) => id}
                columns={[
                  {
                    title: 'Name',
                    of: ({ name, kind }) => (
                      <>
                        {name} <Badge text={kind} />
                      </>
                    ),
                  },
                  { title: 'To', of: ({ url, to }) => <span class="mono">{to.length > 0 ? to.join(', ') : url}</span> },
                  {
                    title: 'Last',
                    of: ({ lastSentAt, lastError }) =>
                      lastError === null ? (
                        <Time at={lastSentAt} none="not yet" />
                      ) : (
                        <span class="bad">{lastError}</span>
                      ),
                  },
                  {
                    title: '',
                    of: ({ id, name }) => (
                      <div class="actions">
                        <Action
                          needs="operator"
                          onClick={async () => {
                            await call('POST', `/alerts/channels/${id}/test`, {}).finally(() => {
                              channels.reload()
                              history.reload()
                            })
                            say(`${name} took it`)
                          }}
                        >
                          Test
                        </Action>
                        <Action
                          needs="admin"
                          kind="danger"
                          onClick={() =>
                            ask({
                              title: `Remove ${name}?`,
                              verb: 'Remove',
                              isDangerous: true,
                              act: () => call('DELETE', `/alerts/channels/${id}`).then(channels.reload),
                            })
                          }
                        >
                          Remove …
                        </Action>
                      </div>
                    ),
                  },
                ]}
              />
            )}
          </Loaded>
        </Card>
        <Card title="History">
          <Loaded of={history}>
            {({ entries }) =>
              entries.length === 0 ? (
                <p class="note">Nothing yet.</p>
              ) : (
                <Table
                  caption="History of alerts"
                  rows={entries}
                  keyOf={({ no }) => String(no)}
                  columns={[
                    { title: 'When', of: ({ at }) => <Time at={at} /> },
                    { title: 'What', of: ({ event }) => <Badge text={event} /> },
                    { title: 'Of', of: ({ target }) => target },
                    { title: 'Said', of: ({ message }) => message },
                  ]}
                />
              )
            }
          </Loaded>
        </Card>
      </div>
    </Page>
  )
}

function shownValue(kind: AlertRule['kind'], value: number): string {
  const unit = kinds[kind][1]
  return unit === 1_000 ? duration(value) : unit === 0.01 ? percent(value) : count(value)
}

function askRule(rule: AlertRule | undefined, known: readonly AlertChannel[], reload: () => void): void {
  const unit = rule === undefined ? 1 : kinds[rule.kind][1]
  ask({
    title: rule === undefined ? 'A new rule' : `Change ${rule.name}`,
    verb: 'Save',
    fields: [
      { name: 'name', label: 'Name', value: rule?.name ?? '' },
      {
        name: 'kind',
        label: 'What',
        value: rule?.kind ?? 'depth',
        options: Object.entries(kinds).map(([kind, [label]]) => [kind, label]),
      },
      { name: 'target', label: 'Of which, * for anything', value: rule?.target ?? '*' },
      {
        name: 'threshold',
        label: 'Fires from',
        type: 'number',
        value: rule === undefined ? '' : String(rule.threshold / unit),
      },
      {
        name: 'clearBelow',
        label: 'Over at',
        type: 'number',
        isOptional: true,
        value: rule?.clearBelow == null ? '' : String(rule.clearBelow / unit),
        hint: 'Empty: at 80 % of that',
      },
      { name: 'forS', label: 'Must last, in seconds', type: 'number', value: String((rule?.forMs ?? 60_000) / 1_000) },
      {
        name: 'channels',
        label: 'Tell',
        value: rule?.channels.join(' ') ?? '',
        options: known.map(({ id, name }) => [id, name]),
        isMultiple: true,
        isOptional: true,
        ...(known.length === 0 && { hint: 'Nobody: there are no channels yet' }),
      },
      {
        name: 'isEnabled',
        label: 'Is it on?',
        value: rule?.isEnabled === false ? 'off' : 'on',
        options: [
          ['on', 'on'],
          ['off', 'off'],
        ],
      },
    ],
    async act({ name, kind = 'depth', target, threshold, clearBelow = '', forS, channels = '', isEnabled }) {
      const times = kinds[kind as AlertRule['kind']][1]
      await call(rule === undefined ? 'POST' : 'PUT', `/alerts/rules${rule === undefined ? '' : `/${rule.id}`}`, {
        ...{
          name,
          kind,
          target,
          threshold: Number(threshold) * times,
          forMs: Number(forS) * 1_000,
          isEnabled: isEnabled === 'on',
        },
        clearBelow: clearBelow === '' ? null : Number(clearBelow) * times,
        channels: chosenOf(channels),
      })
      reload()
    },
  })
}

const channelFields: Readonly<Record<AlertChannel['kind'], readonly Field[]>> = {
  webhook: [
    { name: 'url', label: 'URL', type: 'url' },
    { name: 'secret', label: 'Secret that signs it', type: 'password', isOptional: true },
  ],
  slack: [{ name: 'url', label: 'URL of the incoming webhook', type: 'url' }],
  email: [
    { name: 'url', label: 'Server: smtp://user:password@host:587' },
    { name: 'from', label: 'From' },
    { name: 'to', label: 'To, with commas between' },
  ],
}

function NewChannel({ reload }: { reload: () => void }) {
  const begin = (kind: AlertChannel['kind']): void =>
    ask({
      title: `A new ${kind} channel`,
      verb: 'Save',
      fields: [{ name: 'name', label: 'Name' }, ...channelFields[kind]],
      async act({ secret, to, ...rest }) {
        await call('POST', '/alerts/channels', {
          ...{ kind, ...rest },
          ...(kind === 'webhook' && { secret: secret === '' ? null : secret }),
          ...(to !== undefined && { to: to.split(',').map((address) => address.trim()) }),
        })
        reload()
      },
    })
  return (
    <div class="actions">
      <Action needs="admin" onClick={() => begin('webhook')}>
        Webhook …
      </Action>
      <Action needs="admin" onClick={() => begin('slack')}>
        Slack …
      </Action>
      <Action needs="admin" onClick={() => begin('email')}>
        Mail …
      </Action>
    </div>
  )
}
