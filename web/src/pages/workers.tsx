import { useMemo } from 'preact/hooks'
import type { Told, Worker, WorkerDetail } from '../../../src/monitor/api-types.ts'
import { call, pathOf, useResource } from '../api.ts'
import { bytes, count, duration, percent } from '../format.ts'
import { workers as live } from '../live.ts'
import { go, query, withQuery } from '../router.ts'
import { Action, Badge, Card, Facts, Loaded, Meter, Page, say, Table, Time } from '../ui/basics.tsx'
import { Chart } from '../ui/chart.tsx'
import { ask, type Field } from '../ui/dialog.tsx'
import { Value } from '../ui/tree.tsx'

export function Workers() {
  const first = useResource<readonly Worker[]>('/workers')
  const known = { ...first, data: live.value ?? first.data }
  return (
    <Page title="Workers">
      <Loaded of={known} empty="No workers are heard. They are there within ten seconds of their start.">
        {(data) => (
          <Card label="Workers">
            <Table
              caption="Workers"
              rows={data}
              keyOf={({ name }) => name}
              columns={[
                {
                  title: 'Worker',
                  of: ({ name, software }) => (
                    <>
                      <a href={`/workers/${encodeURIComponent(name)}`}>{name}</a>
                      <span class="mono quiet">{software ?? ''}</span>
                    </>
                  ),
                },
                { title: 'State', of: ({ isAlive }) => <Badge text={isAlive ? 'alive' : 'gone'} /> },
                {
                  title: 'Slots',
                  of: ({ name, active, concurrency }) =>
                    concurrency === null ? (
                      count(active ?? 0)
                    ) : (
                      <>
                        <Meter share={(active ?? 0) / concurrency} label={`slots of ${name} taken`} /> {active ?? 0}/
                        {concurrency}
                      </>
                    ),
                },
                { title: 'Queues', isMinor: true, of: ({ queues }) => queues.join(', ') },
                {
                  title: 'Processed',
                  isNumber: true,
                  of: ({ processed }) => (processed === null ? '–' : count(processed)),
                },
                { title: 'Failed', isNumber: true, isMinor: true, of: ({ counts }) => count(counts.failed ?? 0) },
                { title: 'CPU', isNumber: true, of: ({ cpu }) => percent(cpu) },
                { title: 'Memory', isNumber: true, of: ({ memoryBytes }) => bytes(memoryBytes) },
                { title: 'Loop lag', isNumber: true, isMinor: true, of: ({ loopLagMs }) => duration(loopLagMs) },
                {
                  title: 'Load',
                  isNumber: true,
                  isMinor: true,
                  of: ({ loadavg }) => loadavg.map((load) => load.toFixed(2)).join(' '),
                },
                { title: 'Heard', isNumber: true, of: ({ heardAt }) => <Time at={heardAt} /> },
              ]}
            />
          </Card>
        )}
      </Loaded>
    </Page>
  )
}

const tabs = [
  ['pool', 'Pool'],
  ['queues', 'Queues'],
  ['tasks', 'Tasks'],
  ['limits', 'Limits'],
  ['config', 'Config'],
] as const

export function WorkerPage({ name }: { name: string }) {
  const worker = useResource<WorkerDetail>(pathOf('workers', name), 10_000)
  const tab = query.value.get('tab') ?? 'pool'
  return (
    <Page title={name} actions={worker.data && <WorkerActions name={name} reload={worker.reload} />}>
      <Loaded of={worker}>
        {(data) => (
          <div class="stack">
            <Card label="As it stands">
              <Facts
                of={[
                  ['State', <Badge key="state" text={data.isAlive ? 'alive' : 'gone'} />],
                  ['Slots', `${data.active ?? 0} of ${data.concurrency ?? '?'} taken`],
                  ['Pool', data.pool ?? '–'],
                  ['Processed', data.processed === null ? '–' : count(data.processed)],
                  ['CPU', percent(data.cpu)],
                  ['Memory', bytes(data.memoryBytes)],
                  ['Loop lag', duration(data.loopLagMs)],
                  ['Children replaced', replaced(data.recycled)],
                  ['Up for', duration(data.uptimeS === null ? null : data.uptimeS * 1_000)],
                  ['Process', data.pid === null ? '–' : String(data.pid)],
                  ['Software', [data.software, data.system].filter((text) => text !== null).join(', ') || '–'],
                  ['Heard', <Time key="heard" at={data.heardAt} />],
                ]}
              />
            </Card>
            <History history={data.history} />
            <Card label="Details">
              <div class="tabs">
                {tabs.map(([id, title]) => (
                  <button
                    key={id}
                    type="button"
                    aria-pressed={tab === id}
                    onClick={() => go(withQuery({ tab: id }), { replaces: true })}
                  >
                    {title}
                  </button>
                ))}
              </div>
              <Tab tab={tab} worker={data} reload={worker.reload} />
            </Card>
          </div>
        )}
      </Loaded>
    </Page>
  )
}

/** What the worker said, or why it did not. */
async function tell(name: string, command: string, body: object = {}): Promise<void> {
  const { replies, done } = await call<Told>('POST', `${pathOf('workers', name)}/${command}`, body)
  const said = Object.values(replies).join('; ')
  if (!done) throw new Error(said === '' ? `${name} does not answer` : said)
  say(said === '' ? 'Done' : said)
}

function WorkerActions({ name, reload }: { name: string; reload: () => void }) {
  return (
    <>
      <Action needs="operator" onClick={() => tell(name, 'restart-pool').then(reload)}>
        Restart pool
      </Action>
      <Action
        needs="admin"
        kind="danger"
        onClick={() =>
          ask({
            title: `Shut ${name} down?`,
            text: 'It finishes what it runs, gives the rest back, and ends. Nothing starts it again, unless something watches over it.',
            verb: 'Shut down',
            isDangerous: true,
            async act() {
              await call('POST', `${pathOf('workers', name)}/shutdown`, {})
              say(`${name} was told to stop`)
            },
          })
        }
      >
        Shut down …
      </Action>
    </>
  )
}

function Tab({ tab, worker, reload }: { tab: string; worker: WorkerDetail; reload: () => void }) {
  const { name } = worker
  const askFor = (
    title: string,
    command: string,
    fields: readonly Field[],
    bodyOf: (values: Readonly<Record<string, string>>) => object,
  ): void =>
    ask({
      ...{ title, verb: 'Tell it', fields },
      async act(values) {
        await tell(name, command, bodyOf(values))
        reload()
      },
    })
  switch (tab) {
    case 'queues':
      return (
        <div class="stack">
          <Table
            caption="Queues that it takes from"
            rows={worker.queues}
            keyOf={(queue) => queue}
            columns={[
              { title: 'Queue', of: (queue) => <a href={`/queues/${encodeURIComponent(queue)}`}>{queue}</a> },
              {
                title: '',
                of: (queue) => (
                  <Action needs="operator" onClick={() => tell(name, 'cancel-consumer', { queue }).then(reload)}>
                    Stop taking
                  </Action>
                ),
              },
            ]}
          />
          <div class="actions">
            <Action
              needs="operator"
              onClick={() =>
                askFor('Take from a queue more', 'add-consumer', [{ name: 'queue', label: 'Queue' }], ({ queue }) => ({
                  queue,
                }))
              }
            >
              Add queue …
            </Action>
          </div>
        </div>
      )
    case 'tasks':
      return (
        <div class="stack">
          <Requests title="Running" requests={worker.activeTasks} />
          <Requests title="Reserved" requests={worker.reservedTasks} />
          <Requests
            title="Kept until they are due"
            requests={worker.scheduledTasks.map(({ request, eta }) => ({ ...(request as object), eta }))}
          />
          <h3>Revoked</h3>
          {worker.revokedIds.length === 0 ? <p class="note">None.</p> : <pre>{worker.revokedIds.join('\n')}</pre>}
        </div>
      )
    case 'limits':
      return <Limits worker={worker} askFor={askFor} />
    case 'config':
      return (
        <div class="grid">
          <div>
            <h3>Settings</h3>
            <Value value={worker.conf} isOpen />
          </div>
          <div>
            <h3>Statistics</h3>
            <Value value={worker.stats} isOpen />
          </div>
        </div>
      )
    default:
      return (
        <div class="stack">
          <div class="actions">
            <Action needs="operator" onClick={() => tell(name, 'grow', { n: 1 }).then(reload)}>
              Grow by 1
            </Action>
            <Action needs="operator" onClick={() => tell(name, 'shrink', { n: 1 }).then(reload)}>
              Shrink by 1
            </Action>
            <Action
              needs="operator"
              onClick={() =>
                askFor(
                  'Bounds of a pool that scales itself',
                  'autoscale',
                  [
                    { name: 'max', label: 'At most', type: 'number', value: String(worker.concurrency ?? 1) },
                    { name: 'min', label: 'At least', type: 'number', value: '1' },
                  ],
                  ({ max, min }) => ({ max: Number(max), min: Number(min) }),
                )
              }
            >
              Autoscale …
            </Action>
            <Action needs="operator" onClick={() => tell(name, 'enable-events')}>
              Enable events
            </Action>
            <Action needs="operator" onClick={() => tell(name, 'disable-events')}>
              Disable events
            </Action>
          </div>
          <Value value={worker.stats?.pool ?? null} isOpen />
        </div>
      )
  }
}

function Limits({
  worker,
  askFor,
}: {
  worker: WorkerDetail
  askFor: (
    title: string,
    command: string,
    fields: readonly Field[],
    bodyOf: (values: Readonly<Record<string, string>>) => object,
  ) => void
}) {
  const seconds = (text: string | undefined): number | null => (text === undefined || text === '' ? null : Number(text))
  return (
    <Table
      caption="Limits of tasks"
      rows={worker.registered}
      keyOf={(task) => task}
      columns={[
        { title: 'Task', of: (task) => task },
        {
          title: '',
          of: (task) => (
            <div class="actions">
              <Action
                needs="operator"
                onClick={() =>
                  askFor(
                    `Rate limit of ${task}`,
                    'rate-limit',
                    [{ name: 'rate', label: 'Rate', isOptional: true, hint: '10/s, 100/m or 1000/h; empty lifts it' }],
                    ({ rate }) => ({ task, rate: rate === '' ? null : rate }),
                  )
                }
              >
                Rate limit …
              </Action>
              <Action
                needs="operator"
                onClick={() =>
                  askFor(
                    `Time limits of ${task}`,
                    'time-limit',
                    [
                      { name: 'soft', label: 'Soft, in seconds', type: 'number', isOptional: true },
                      { name: 'hard', label: 'Hard, in seconds', type: 'number', isOptional: true },
                    ],
                    ({ soft, hard }) => ({ task, soft: seconds(soft), hard: seconds(hard) }),
                  )
                }
              >
                Time limits …
              </Action>
            </div>
          ),
        },
      ]}
    />
  )
}

/** In words, by what ends a child. */
const endings: Readonly<Record<string, string>> = {
  tasks: 'after their share of tasks',
  memory: 'grown too large',
  command: 'by a restart',
  killed: 'killed with their task',
  lost: 'lost',
}

function replaced(counts: Worker['recycled']): string {
  if (counts === null) return '–'
  const parts = Object.entries(counts).flatMap(([reason, n]) =>
    n > 0 ? `${count(n)} ${endings[reason] ?? reason}` : [],
  )
  return parts.join(', ') || 'none'
}

function Requests({ title, requests }: { title: string; requests: readonly Record<string, unknown>[] }) {
  return (
    <div>
      <h3>{title}</h3>
      {requests.length === 0 ? (
        <p class="note">None.</p>
      ) : (
        <Table
          caption={title}
          rows={requests}
          keyOf={({ id }) => String(id)}
          columns={[
            {
              title: 'Task',
              of: ({ id, name }) => <a href={`/tasks/${encodeURIComponent(String(id))}`}>{String(name)}</a>,
            },
            {
              title: 'Arguments',
              of: ({ args, kwargs }) => (
                <span class="mono">
                  {typeof args === 'string' ? `${args} ${String(kwargs)}` : JSON.stringify([args, kwargs])}
                </span>
              ),
            },
            {
              title: 'Since',
              of: ({ time_start: start }) => <Time at={typeof start === 'number' ? start * 1_000 : null} />,
            },
          ]}
        />
      )}
    </div>
  )
}

function History({ history }: { history: WorkerDetail['history'] }) {
  const { at, memory, work } = useMemo(
    () => ({
      at: history.map((point) => point.at),
      memory: [{ label: 'memory', colour: '--busy', values: history.map(({ high }) => high.memoryBytes ?? null) }],
      work: [
        { label: 'CPU', colour: '--warn', values: history.map(({ high }) => high.cpu ?? null) },
        { label: 'slots taken', colour: '--good', values: history.map(({ high }) => high.active ?? null) },
      ],
    }),
    [history],
  )
  return (
    <div class="grid">
      <Card label="Memory">
        <Chart title="Memory" at={at} lines={memory} format={bytes} height={140} />
      </Card>
      <Card label="Work">
        <Chart
          title="Processors and slots"
          at={at}
          lines={work}
          format={(n) => String(Number(n.toPrecision(2)))}
          height={140}
        />
      </Card>
    </div>
  )
}
