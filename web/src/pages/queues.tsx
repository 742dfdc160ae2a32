import { useMemo } from 'preact/hooks'
import type { Queue, QueueDetail, WaitingMessage } from '../../../src/monitor/api-types.ts'
import { call, pathOf, useResource, whyNot } from '../api.ts'
import { count, duration, rate } from '../format.ts'
import { queues as live } from '../live.ts'
import { Action, Badge, Card, Facts, Loaded, Page, say, Table, Time } from '../ui/basics.tsx'
import { Chart } from '../ui/chart.tsx'
import { ask } from '../ui/dialog.tsx'
import { Value } from '../ui/tree.tsx'

export function Queues() {
  const first = useResource<readonly Queue[]>('/queues')
  const known = { ...first, data: live.value ?? first.data }
  return (
    <Page title="Queues">
      <Loaded of={known} empty="No queues yet: they are there once something is sent.">
        {(data) => (
          <Card label="Queues">
            <Table
              caption="Queues"
              rows={data.filter(({ isDead }) => !isDead)}
              keyOf={({ name }) => name}
              columns={[
                {
                  title: 'Queue',
                  of: ({ name, paused }) => (
                    <>
                      <a href={`/queues/${encodeURIComponent(name)}`}>{name}</a> {paused && <Badge text="paused" />}
                    </>
                  ),
                },
                { title: 'Waiting', isNumber: true, of: ({ ready }) => count(ready) },
                { title: 'Oldest', isNumber: true, of: ({ oldestMs }) => duration(oldestMs) },
                { title: 'Later', isNumber: true, isMinor: true, of: ({ delayed }) => count(delayed) },
                { title: 'Running', isNumber: true, isMinor: true, of: ({ inFlight }) => count(inFlight) },
                { title: 'In', isNumber: true, of: ({ inPerS }) => rate(inPerS) },
                { title: 'Out', isNumber: true, of: ({ outPerS }) => rate(outPerS) },
                {
                  title: 'Empty in',
                  isNumber: true,
                  isMinor: true,
                  of: ({ drainMs, ready }) =>
                    ready === 0 ? 'empty' : drainMs === null ? 'never, as it is' : duration(drainMs),
                },
                {
                  title: 'Consumers',
                  isNumber: true,
                  isMinor: true,
                  of: ({ consumers, ready }) => (
                    <span class={consumers === 0 && ready > 0 ? 'bad' : ''}>{count(consumers)}</span>
                  ),
                },
                { title: '', of: (queue) => <QueueActions queue={queue} reload={first.reload} /> },
              ]}
            />
          </Card>
        )}
      </Loaded>
    </Page>
  )
}

function QueueActions({ queue: { name, paused, ready }, reload }: { queue: Queue; reload: () => void }) {
  const hold = async (): Promise<void> => {
    await call('POST', `${pathOf('queues', name)}/${paused ? 'resume' : 'pause'}`, {})
    say(paused ? `${name} goes on` : `${name} is held: nobody is given what waits in it`)
    reload()
  }
  const purge = (): void =>
    ask({
      title: `Drop all that waits in ${name}?`,
      text: `${count(ready)} messages are dropped for good. What runs goes on.`,
      verb: 'Purge',
      isDangerous: true,
      typed: name,
      async act() {
        const { purged } = await call<{ purged: number }>('POST', `${pathOf('queues', name)}/purge`, { confirm: name })
        say(`${count(purged)} messages were dropped`)
        reload()
      },
    })
  return (
    <div class="actions">
      <Action needs="operator" onClick={hold}>
        {paused ? 'Resume' : 'Pause'}
      </Action>
      <Action needs="admin" kind="danger" onClick={purge}>
        Purge …
      </Action>
    </div>
  )
}

export function QueuePage({ name }: { name: string }) {
  const queue = useResource<QueueDetail>(pathOf('queues', name), 10_000)
  const mayLook = whyNot('operator') === undefined
  const messages = useResource<readonly WaitingMessage[]>(mayLook ? `${pathOf('queues', name)}/messages` : undefined)
  return (
    <Page title={name} actions={queue.data && <QueueActions queue={queue.data} reload={queue.reload} />}>
      <Loaded of={queue}>
        {(data) => (
          <div class="stack">
            <Card label="As it stands">
              <Facts
                of={[
                  ['Waiting', count(data.ready)],
                  ['Oldest', duration(data.oldestMs)],
                  ['Not due yet', count(data.delayed)],
                  ['Running', count(data.inFlight)],
                  ['In / out', `${rate(data.inPerS)} / ${rate(data.outPerS)}`],
                  [
                    'Empty in',
                    data.ready === 0
                      ? 'it is empty'
                      : data.drainMs === null
                        ? 'never, as things are'
                        : duration(data.drainMs),
                  ],
                  ['State', data.paused ? <Badge key="paused" text="paused" /> : 'open'],
                  [
                    'Workers',
                    data.workers.length === 0
                      ? 'none'
                      : data.workers.map((worker) => (
                          <a key={worker} href={`/workers/${encodeURIComponent(worker)}`}>
                            {worker}{' '}
                          </a>
                        )),
                  ],
                ]}
              />
            </Card>
            <Depths history={data.history} />
            <Card title="Tasks, in the last hour">
              <Table
                caption="Tasks of this queue"
                rows={data.tasks}
                keyOf={({ task }) => task ?? ''}
                columns={[
                  {
                    title: 'Task',
                    of: ({ task }) =>
                      task === null ? (
                        '–'
                      ) : (
                        <a href={`/tasks?name=${encodeURIComponent(task)}&queue=${encodeURIComponent(name)}`}>{task}</a>
                      ),
                  },
                  { title: 'Done', isNumber: true, of: ({ succeeded }) => count(succeeded) },
                  { title: 'Failed', isNumber: true, of: ({ failed }) => count(failed) },
                  { title: 'Wait p95', isNumber: true, of: ({ wait }) => duration(wait.p95Ms) },
                  { title: 'Run p50', isNumber: true, of: ({ run }) => duration(run.p50Ms) },
                  { title: 'Run p95', isNumber: true, of: ({ run }) => duration(run.p95Ms) },
                ]}
              />
            </Card>
            {mayLook && (
              <Card
                title="Next in line"
                extra={
                  <button type="button" onClick={messages.reload}>
                    Look again
                  </button>
                }
              >
                <Loaded of={messages} empty="Nothing waits.">
                  {(waiting) => (
                    <Table
                      caption="Messages that wait"
                      rows={waiting}
                      keyOf={({ id, at }) => `${id} ${at}`}
                      columns={[
                        {
                          title: 'Task',
                          of: ({ id, task }) =>
                            id === null ? (task ?? '–') : <a href={`/tasks/${encodeURIComponent(id)}`}>{task ?? id}</a>,
                        },
                        { title: 'State', of: ({ state }) => state },
                        { title: 'Since', of: ({ at }) => <Time at={at} /> },
                        { title: 'Arguments', of: ({ args, kwargs }) => <Value value={{ args, kwargs }} /> },
                      ]}
                    />
                  )}
                </Loaded>
              </Card>
            )}
          </div>
        )}
      </Loaded>
    </Page>
  )
}

function Depths({ history }: { history: QueueDetail['history'] }) {
  const { at, depth, age } = useMemo(
    () => ({
      at: history.map((point) => point.at),
      depth: [
        { label: 'waiting', colour: '--warn', values: history.map(({ high }) => high.ready ?? null) },
        { label: 'running', colour: '--busy', values: history.map(({ high }) => high.inFlight ?? null) },
      ],
      age: [{ label: 'oldest', colour: '--bad', values: history.map(({ high }) => high.oldestMs ?? null) }],
    }),
    [history],
  )
  return (
    <div class="grid">
      <Card label="Depth">
        <Chart title="Messages" at={at} lines={depth} format={count} />
      </Card>
      <Card label="Age">
        <Chart title="How long the first has waited" at={at} lines={age} format={duration} />
      </Card>
    </div>
  )
}
