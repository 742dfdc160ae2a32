import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Started, TaskPage, TaskSummary } from '../../../src/monitor/api-types.ts'
import { call, useResource } from '../api.ts'
import { count, duration } from '../format.ts'
import { jobs, queues, taskChanges, useChanges, workers } from '../live.ts'
import { go, query, withQuery } from '../router.ts'
import { Action, Badge, Card, Loaded, Page, say, Table, Time } from '../ui/basics.tsx'
import { ask } from '../ui/dialog.tsx'

const states = ['PENDING', 'RECEIVED', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED', 'REJECTED']
const filters = ['id', 'name', 'state', 'queue', 'worker', 'text', 'error', 'from', 'to'] as const
const views = [
  ['All', {}],
  ['Failed', { state: 'FAILURE' }],
  ['Running', { state: 'STARTED' }],
  ['Waiting', { state: ['PENDING', 'RECEIVED'] }],
  ['To be tried again', { state: 'RETRY' }],
] as const
const ownViews = 'celeriac.views'

export function Tasks() {
  const now = query.value
  const isLive = now.get('before') === null && now.get('live') !== 'off'
  const asked = new URLSearchParams(
    [...now].filter(([name]) => (filters as readonly string[]).includes(name) || name === 'before'),
  )
  asked.set('limit', '50')
  const tasks = useResource<TaskPage>(`/tasks?${asked}`)
  useChanges(taskChanges, isLive, tasks.reload)
  // The same until there are others: while they are asked for, nothing is drawn anew.
  const table = useMemo(() => tasks.data && <TaskTable tasks={tasks.data.tasks} />, [tasks.data])
  return (
    <Page
      title="Tasks"
      actions={
        <>
          <button
            type="button"
            aria-pressed={isLive}
            onClick={() => go(withQuery({ live: isLive ? 'off' : undefined, before: undefined }))}
          >
            {isLive ? 'Live' : 'Held'}
          </button>
          <SendTask />
        </>
      }
    >
      <Views />
      <Filters />
      <Bulk />
      <Loaded of={tasks}>
        {({ tasks: found, next }) =>
          found.length === 0 ? (
            <p class="note">
              {asked.size > 1
                ? 'No task fits.'
                : 'No events yet: workers tell of their tasks once they are asked to, which the monitor does every half minute.'}
            </p>
          ) : (
            <>
              {table}
              <div class="actions">
                {now.get('before') !== null && (
                  <a class="button" href={withQuery({ before: undefined })}>
                    Newest
                  </a>
                )}
                {next !== null && (
                  <a class="button" href={withQuery({ before: String(next) })}>
                    Older
                  </a>
                )}
              </div>
            </>
          )
        }
      </Loaded>
    </Page>
  )
}

function Views() {
  const [own, setOwn] = useState<Record<string, string>>(
    () => JSON.parse(localStorage.getItem(ownViews) ?? '{}') as Record<string, string>,
  )
  const keep = (next: Record<string, string>): void => {
    localStorage.setItem(ownViews, JSON.stringify(next))
    setOwn(next)
  }
  const current = location.search
  return (
    <div class="tabs">
      {views.map(([title, view]) => {
        const search = new URLSearchParams(
          Object.entries(view).flatMap(([name, value]) => [value].flat().map((one) => [name, one])),
        ).toString()
        const href = `/tasks${search === '' ? '' : `?${search}`}`
        return (
          <a
            key={title}
            class="button"
            href={href}
            aria-current={current === href.slice('/tasks'.length) ? 'true' : undefined}
          >
            {title}
          </a>
        )
      })}
      {Object.entries(own).map(([title, search]) => (
        <span key={title}>
          <a class="button" href={`/tasks${search}`} aria-current={current === search ? 'true' : undefined}>
            {title}
          </a>
          <button
            type="button"
            aria-label={`Forget the view ${title}`}
            onClick={() => keep(Object.fromEntries(Object.entries(own).filter(([name]) => name !== title)))}
          >
            ×
          </button>
        </span>
      ))}
      <button
        type="button"
        onClick={() =>
          ask({
            title: 'Keep this view',
            text: 'The filters of now, under a name, in this browser. The address of the page shows them to anybody.',
            verb: 'Keep',
            fields: [{ name: 'title', label: 'Name' }],
            act: async ({ title = '' }) => keep({ ...own, [title]: current }),
          })
        }
      >
        Keep view
      </button>
    </div>
  )
}

function Filters() {
  const now = query.value
  const set = (name: string, value: string): void =>
    go(withQuery({ [name]: value, before: undefined }), { replaces: true })
  return (
    <search>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <Typed name="text" label="Words in arguments, result or error" isWide set={set} />
        <Typed name="name" label="Task, * for anything" set={set} />
        <label class="field">
          State
          <select
            name="state"
            value={now.get('state') ?? ''}
            onChange={(event) => set('state', event.currentTarget.value)}
          >
            <option value="">any</option>
            {states.map((state) => (
              <option key={state}>{state}</option>
            ))}
          </select>
        </label>
        <Choice
          name="queue"
          label="Queue"
          of={(queues.value ?? []).filter(({ isDead }) => !isDead).map(({ name }) => name)}
          set={set}
        />
        <Choice name="worker" label="Worker" of={(workers.value ?? []).map(({ name }) => name)} set={set} />
        <Typed name="id" label="Id" set={set} />
        <label class="field">
          Heard of within
          <select
            value={spanOf(now.get('from'))}
            onChange={(event) => {
              const ms = Number(event.currentTarget.value)
              set('from', ms === 0 ? '' : String(Date.now() - ms))
            }}
          >
            <option value="0">any time</option>
            <option value="300000">5 minutes</option>
            <option value="3600000">an hour</option>
            <option value="86400000">a day</option>
          </select>
        </label>
      </form>
    </search>
  )
}

function spanOf(from: string | null): string {
  if (from === null) return '0'
  const ms = Date.now() - Number(from)
  return String([300_000, 3_600_000, 86_400_000].find((span) => ms <= span * 1.5) ?? 86_400_000)
}

/** Goes into the address a moment after the last letter. */
function Typed({
  name,
  label,
  isWide,
  set,
}: {
  name: string
  label: string
  isWide?: boolean
  set: (name: string, value: string) => void
}) {
  const given = query.value.get(name) ?? ''
  const [text, setText] = useState(given)
  useEffect(() => setText(given), [given])
  useEffect(() => {
    if (text === given) return
    const timer = setTimeout(() => set(name, text.trim()), 300)
    return () => clearTimeout(timer)
  }, [text])
  return (
    <label class={`field ${isWide ? 'wide' : ''}`}>
      {label}
      <input
        name={name}
        type="search"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        spellcheck={false}
      />
    </label>
  )
}

function Choice({
  name,
  label,
  of,
  set,
}: {
  name: string
  label: string
  of: readonly string[]
  set: (name: string, value: string) => void
}) {
  const now = query.value.get(name) ?? ''
  const options = now === '' || of.includes(now) ? of : [now, ...of]
  return (
    <label class="field">
      {label}
      <select name={name} value={now} onChange={(event) => set(name, event.currentTarget.value)}>
        <option value="">any</option>
        {options.map((option) => (
          <option key={option}>{option}</option>
        ))}
      </select>
    </label>
  )
}

function filterNow(): Record<string, unknown> {
  const now = query.value
  const lists = ['name', 'state', 'queue', 'worker']
  return Object.fromEntries(
    filters.flatMap((name) => {
      const values = now.getAll(name)
      if (values.length === 0) return []
      return [[name, lists.includes(name) ? values : name === 'from' || name === 'to' ? Number(values[0]) : values[0]]]
    }),
  )
}

/** For all that fit, on whatever pages they are. */
function Bulk() {
  const begin = async (action: 'retry' | 'revoke' | 'terminate', verb: string): Promise<void> => {
    const filter = filterNow()
    const { count: n } = await call<Started>('POST', '/tasks/bulk', { action, filter, dryRun: true })
    if (n === 0) return say('No task fits.')
    ask({
      title: `${verb} ${n >= 100_000 ? 'more than ' : ''}${count(n)} tasks?`,
      text: (
        <>
          <p>
            All tasks that fit the filters, on all pages{action === 'retry' ? '' : ', as far as they have not ended'}.
          </p>
          {action === 'retry' && (
            <p>
              Those that are dead letters go back to their queues; others are sent anew with the arguments they had.
            </p>
          )}
        </>
      ),
      verb,
      isDangerous: action !== 'retry',
      fields:
        action === 'retry'
          ? [
              {
                name: 'perSecond',
                label: 'At most so many a second',
                type: 'number',
                isOptional: true,
                hint: 'Empty: as fast as it goes',
              },
            ]
          : [],
      async act({ perSecond = '' }) {
        const { job } = await call<Started>('POST', '/tasks/bulk', {
          action,
          filter,
          perSecond: perSecond === '' ? null : Number(perSecond),
        })
        if (job !== null) jobs.value = new Map(jobs.value).set(job.id, job)
      },
    })
  }
  return (
    <>
      <div class="actions tabs">
        <span class="note">All that fit:</span>
        <Action needs="operator" onClick={() => begin('retry', 'Retry')}>
          Retry …
        </Action>
        <Action needs="operator" onClick={() => begin('revoke', 'Revoke')}>
          Revoke …
        </Action>
        <Action needs="operator" onClick={() => begin('terminate', 'Terminate')}>
          Terminate …
        </Action>
      </div>
      <Jobs />
    </>
  )
}

export function Jobs() {
  const shown = [...jobs.value.values()]
    .filter(({ at, state }) => state === 'running' || Date.now() - at < 600_000)
    .slice(-3)
  if (shown.length === 0) return null
  return (
    <Card title="Under way">
      {shown.map((job) => (
        <div key={job.id} class="stack">
          <div class="actions">
            <Badge text={job.state} /> {job.action}: {count(job.done)} of {count(job.total)} done
            {job.failed > 0 && <span class="bad">, {count(job.failed)} not</span>}
            {job.state === 'running' && (
              <Action needs="operator" onClick={() => call('POST', `/jobs/${job.id}/cancel`)}>
                Cancel
              </Action>
            )}
          </div>
          <progress
            class="progress"
            max={Math.max(1, job.total)}
            value={job.done + job.failed}
            aria-label={`${job.action}: how far it has come`}
          />
          {job.errors.slice(0, 3).map((error) => (
            <p key={error} class="bad">
              {error}
            </p>
          ))}
        </div>
      ))}
    </Card>
  )
}

export function TaskTable({ tasks }: { tasks: readonly TaskSummary[] }) {
  return (
    <Table
      caption="Tasks, the latest first"
      rows={tasks}
      // By their places: each second a live list is written over, which costs a third of building it anew.
      keyOf={(_task, place) => String(place)}
      columns={[
        {
          title: 'Task',
          of: ({ id, name }) => (
            <>
              <a href={`/tasks/${encodeURIComponent(id)}`}>{name ?? 'not known'}</a>
              <span class="mono quiet">{id}</span>
            </>
          ),
        },
        {
          title: 'State',
          of: ({ state, retries }) => (
            <>
              <Badge text={state} />
              {retries !== null && retries > 0 && <span class="note"> {retries}×</span>}
            </>
          ),
        },
        {
          title: 'Arguments',
          isMinor: true,
          of: ({ args, kwargs }) => (
            <span class="mono" title={`${args} ${kwargs}`}>
              {argumentsOf(args, kwargs)}
            </span>
          ),
        },
        {
          title: 'Result or error',
          isMinor: true,
          of: ({ result, error }) => (
            <span class={`mono ${error === null ? '' : 'bad'}`} title={error ?? result ?? ''}>
              {error ?? result ?? ''}
            </span>
          ),
        },
        { title: 'Queue', isMinor: true, of: ({ queue }) => queue ?? '–' },
        { title: 'Worker', isMinor: true, of: ({ worker }) => <span class="cut">{worker ?? '–'}</span> },
        {
          title: 'Run',
          isNumber: true,
          of: ({ runtimeMs, startedAt, endedAt }) =>
            duration(runtimeMs ?? (startedAt !== null && endedAt !== null ? endedAt - startedAt : null)),
        },
        { title: 'Last heard', isNumber: true, of: ({ updatedAt }) => <Time at={updatedAt} /> },
      ]}
    />
  )
}

function argumentsOf(args: string | null, kwargs: string | null): string {
  return [args, kwargs].filter((text) => text !== null && text !== '()' && text !== '{}').join(' ')
}

function SendTask() {
  return (
    <Action
      needs="operator"
      onClick={() =>
        ask({
          title: 'Send a task',
          verb: 'Send',
          fields: [
            { name: 'name', label: 'Task' },
            { name: 'args', label: 'Arguments', value: '[]', isJson: true },
            { name: 'kwargs', label: 'Keyword arguments, or the input', value: '{}', isJson: true },
            { name: 'queue', label: 'Queue', isOptional: true, hint: "Empty: where the task's route leads" },
            { name: 'countdownS', label: 'Not before so many seconds', type: 'number', isOptional: true },
          ],
          async act({ name = '', args = '[]', kwargs = '{}', queue = '', countdownS = '' }) {
            const { id } = await call<{ id: string }>('POST', '/tasks', {
              ...{ name, args: JSON.parse(args) as unknown, kwargs: JSON.parse(kwargs) as unknown },
              ...(queue !== '' && { queue }),
              ...(countdownS !== '' && { countdownS: Number(countdownS) }),
            })
            say(`Sent as ${id}`)
          },
        })
      }
    >
      Send …
    </Action>
  )
}
