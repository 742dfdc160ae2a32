import { useMemo } from 'preact/hooks'
import type { Overview, Queue, Series, Sos, Worker } from '../../../src/monitor/api-types.ts'
import { useResource } from '../api.ts'
import { count, duration, percent, rate } from '../format.ts'
import { overview as live, queues as liveQueues, workers as liveWorkers } from '../live.ts'
import { Badge, Card, Figure, Loaded, Meter, Page, Table } from '../ui/basics.tsx'
import { Chart, filled } from '../ui/chart.tsx'
import { FindingList } from './sos.tsx'

export function OverviewPage() {
  const first = useResource<Overview>('/overview')
  const series = useResource<Series>('/series', 10_000)
  const sos = useResource<Sos>('/sos', 10_000)
  const known = { ...first, data: live.value ?? first.data }
  return (
    <Page title="Overview">
      <Loaded of={known}>{(data) => <Figures data={data} series={series.data} />}</Loaded>
      <div class="stack">
        <Card title="What is wrong now" extra={<a href="/sos">the whole list</a>}>
          <Loaded of={sos}>
            {({ findings }) => <FindingList findings={findings.slice(0, 5)} reload={sos.reload} />}
          </Loaded>
        </Card>
        <Loaded of={series}>{(data) => <Charts series={data} />}</Loaded>
        <div class="grid">
          <Card title="Queues" extra={<a href="/queues">all</a>}>
            <QueueBrief queues={liveQueues.value ?? []} />
          </Card>
          <Card title="Workers" extra={<a href="/workers">all</a>}>
            <WorkerBrief workers={liveWorkers.value ?? []} />
          </Card>
        </div>
      </div>
    </Page>
  )
}

function Figures({ data, series }: { data: Overview; series: Series | undefined }) {
  const { rates, workers, queues, deadLetters } = data
  const points = (series?.points ?? []).slice(-6)
  const sum = (of: (point: Series['points'][number]) => number): number =>
    points.reduce((total, point) => total + of(point), 0)
  const [failed, ended] = [sum((point) => point.failed), sum((point) => point.failed + point.succeeded)]
  const share = ended === 0 ? 0 : failed / ended
  const last = points.at(-1)
  return (
    <div class="figures">
      <Figure
        label="Done"
        value={rate((rates.succeeded ?? 0) + (rates.failed ?? 0))}
        note="tasks that end"
        href="/tasks"
      />
      <Figure
        label="Failing"
        value={percent(share)}
        note={`${count(failed)} of ${count(ended)} in a minute`}
        tone={share >= 0.1 ? 'bad' : ''}
        href="/tasks?state=FAILURE"
      />
      <Figure
        label="Waiting"
        value={count(queues.ready)}
        note={
          queues.oldestMs === null
            ? `${count(queues.delayed)} not due yet`
            : `the first for ${duration(queues.oldestMs)}`
        }
        href="/queues"
      />
      <Figure label="Wait" value={duration(last?.wait.p50Ms)} note={`p95 ${duration(last?.wait.p95Ms)}`} />
      <Figure label="Run" value={duration(last?.run.p50Ms)} note={`p95 ${duration(last?.run.p95Ms)}`} />
      <Figure
        label="Workers"
        value={count(workers.alive)}
        note={`${count(workers.active)} of ${count(workers.slots)} slots taken${workers.gone === 0 ? '' : `, ${workers.gone} gone`}`}
        tone={workers.alive === 0 ? 'bad' : ''}
        href="/workers"
      />
      <Figure
        label="Dead letters"
        value={count(deadLetters)}
        tone={deadLetters > 0 ? 'bad' : ''}
        href="/dead-letters"
      />
    </div>
  )
}

export function Charts({ series }: { series: Series }) {
  const { at, points } = useMemo(() => filled(series.points, beginOf(series), series.to, series.stepMs), [series])
  const perS = 1_000 / series.stepMs
  const ends = useMemo(
    () => [
      { label: 'succeeded', colour: '--good', values: points.map((point) => (point?.succeeded ?? 0) * perS) },
      { label: 'failed', colour: '--bad', values: points.map((point) => (point?.failed ?? 0) * perS) },
      { label: 'retried', colour: '--warn', values: points.map((point) => (point?.retried ?? 0) * perS) },
    ],
    [points, perS],
  )
  const times = useMemo(
    () => [
      { label: 'wait p95', colour: '--warn', values: points.map((point) => point?.wait.p95Ms ?? null) },
      { label: 'run p95', colour: '--busy', values: points.map((point) => point?.run.p95Ms ?? null) },
      { label: 'run p50', colour: '--good', values: points.map((point) => point?.run.p50Ms ?? null) },
    ],
    [points],
  )
  return (
    <div class="grid">
      <Card label="Throughput">
        <Chart title="Tasks a second" at={at} lines={ends} format={rate} />
      </Card>
      <Card label="Times">
        <Chart title="How long they wait and run" at={at} lines={times} format={duration} />
      </Card>
    </div>
  )
}

function QueueBrief({ queues }: { queues: readonly Queue[] }) {
  const shown = queues
    .filter(({ isDead }) => !isDead)
    .sort((a, b) => b.ready - a.ready)
    .slice(0, 8)
  if (shown.length === 0) return <p class="note">No queues yet: they are there once something is sent.</p>
  return (
    <Table
      caption="The fullest queues"
      rows={shown}
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
        { title: 'In', isNumber: true, of: ({ inPerS }) => rate(inPerS) },
        { title: 'Out', isNumber: true, of: ({ outPerS }) => rate(outPerS) },
      ]}
    />
  )
}

function WorkerBrief({ workers }: { workers: readonly Worker[] }) {
  if (workers.length === 0) return <p class="note">No workers are heard yet.</p>
  return (
    <Table
      caption="Workers"
      rows={workers.slice(0, 8)}
      keyOf={({ name }) => name}
      columns={[
        { title: 'Worker', of: ({ name }) => <a href={`/workers/${encodeURIComponent(name)}`}>{name}</a> },
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
      ]}
    />
  )
}

/** Of a fleet that was not heard before, a little before it was. */
function beginOf({ points, from, stepMs }: Series): number {
  return Math.max(from, (points[0]?.at ?? from) - 3 * stepMs)
}
