import type { Attempt, Queue, Retried, TaskDetail, TaskNode } from '../../../src/monitor/api-types.ts'
import { call, pathOf, useResource } from '../api.ts'
import { absolute, duration, relative } from '../format.ts'
import { queues, taskChanges, useChanges } from '../live.ts'
import { readRepr } from '../repr.ts'
import { go } from '../router.ts'
import { Action, Badge, Card, Facts, Loaded, Page, say, Time } from '../ui/basics.tsx'
import { ask } from '../ui/dialog.tsx'
import { Graph } from '../ui/graph.tsx'
import { Repr } from '../ui/tree.tsx'

const ended = ['SUCCESS', 'FAILURE', 'REVOKED']

export function TaskPage({ name: id }: { name: string }) {
  const task = useResource<TaskDetail>(pathOf('tasks', id))
  const tree = useResource<TaskNode>(`${pathOf('tasks', id)}/tree`)
  const isOver = task.data !== undefined && ended.includes(task.data.state)
  useChanges(taskChanges, !isOver, () => {
    task.reload()
    tree.reload()
  })
  return (
    <Page title={task.data?.name ?? 'Task'} actions={task.data && <Actions task={task.data} reload={task.reload} />}>
      <Loaded of={task}>
        {(data) => (
          <div class="stack">
            <Head task={data} />
            <div class="grid">
              <Card title="Arguments">
                <Repr text={data.args === '()' && data.kwargs !== '{}' ? null : data.args} />
                {data.kwargs !== null && data.kwargs !== '{}' && <Repr text={data.kwargs} />}
              </Card>
              <Card title={data.error === null ? 'Result' : 'Error'}>
                {data.error === null ? <Repr text={data.result} /> : <pre class="bad">{data.error}</pre>}
                {data.traceback !== null && <pre>{data.traceback}</pre>}
              </Card>
            </div>
            {tree.data !== undefined && tree.data.children.length > 0 && (
              <Card title="What it belongs to">
                <Graph root={tree.data} own={id} />
              </Card>
            )}
            <Card title="Attempts">
              <Attempts of={data.attempts} />
            </Card>
            <Card title="Timeline">
              <ol class="timeline">
                {data.events.map((event, index) => (
                  <li key={`${event.at} ${event.type}`}>
                    <span title={absolute(event.at)}>
                      {index === 0 ? <Time at={event.at} /> : `+ ${duration(event.at - (data.events[0]?.at ?? 0))}`}
                    </span>
                    <strong>{event.type.replace('task-', '')}</strong>
                    <span class="quiet">{event.worker}</span>
                  </li>
                ))}
              </ol>
            </Card>
          </div>
        )}
      </Loaded>
    </Page>
  )
}

function Head({ task }: { task: TaskDetail }) {
  const {
    id,
    state,
    queue,
    worker,
    sentAt,
    readyAt,
    receivedAt,
    startedAt,
    endedAt,
    runtimeMs,
    retries,
    eta,
    expires,
    rootId,
    parentId,
    client,
  } = task
  const link = (other: string | null) =>
    other === null || other === id ? (
      '–'
    ) : (
      <a class="mono" href={`/tasks/${encodeURIComponent(other)}`}>
        {other}
      </a>
    )
  const waited = startedAt === null ? null : startedAt - (readyAt ?? sentAt ?? receivedAt ?? startedAt)
  return (
    <Card label="What is known">
      <Facts
        of={[
          ['State', <Badge key="state" text={state} />],
          ['Id', <code key="id">{id}</code>],
          [
            'Queue',
            queue === null ? (
              '–'
            ) : (
              <a key="queue" href={`/queues/${encodeURIComponent(queue)}`}>
                {queue}
              </a>
            ),
          ],
          [
            'Worker',
            worker === null ? (
              '–'
            ) : (
              <a key="worker" href={`/workers/${encodeURIComponent(worker)}`}>
                {worker}
              </a>
            ),
          ],
          ['Sent', <Time key="sent" at={sentAt ?? readyAt} none={client ?? 'not told'} />],
          ['Started', <Time key="started" at={startedAt} />],
          ['Ended', <Time key="ended" at={endedAt} />],
          ['Waited', duration(waited)],
          ['Ran', duration(runtimeMs)],
          ['Retries', String(retries ?? 0)],
          ['Not before', eta === null ? '–' : <Time key="eta" at={eta} />],
          ['Expires', expires === null ? '–' : <Time key="expires" at={expires} />],
          ['Sent by', link(parentId)],
          ['First of all', link(rootId)],
        ]}
      />
      <Why task={task} queue={(queues.value ?? []).find(({ name }) => name === queue)} />
    </Card>
  )
}

/** Why it has not been started, as far as can be told. */
function Why({ task, queue }: { task: TaskDetail; queue: Queue | undefined }) {
  const why = whyWaiting(task, queue)
  return why === undefined ? null : (
    <p class="verdict">
      <strong>Why it is waiting:</strong> {why}
    </p>
  )
}

function whyWaiting({ state, eta, queue: name, worker }: TaskDetail, queue: Queue | undefined): string | undefined {
  if (!['PENDING', 'RECEIVED', 'RETRY', 'REJECTED'].includes(state)) return undefined
  const due = eta === null ? Number.NaN : Date.parse(eta)
  if (due > Date.now()) return `it is not due: ${relative(due)}.`
  if (state === 'RECEIVED')
    return `${worker ?? 'a worker'} has it, and has no free slot for it yet, or a rate or concurrency limit holds it.`
  if (queue === undefined)
    return name === null ? 'its queue is not known to the monitor.' : `the queue ${name} is not there.`
  if (queue.paused) return `the queue ${queue.name} is held: resume it.`
  if (queue.consumers === 0)
    return `no worker takes from ${queue.name}: start one with celeriac worker -Q ${queue.name}.`
  if (queue.ready > 0)
    return `${queue.ready} messages wait in ${queue.name}${queue.drainMs === null ? ', and it does not become shorter' : `, which are through in ${duration(queue.drainMs)}`}.`
  return 'it was given back to its queue, and a worker will take it next.'
}

function Attempts({ of }: { of: readonly Attempt[] }) {
  if (of.length === 0) return <p class="note">None yet.</p>
  return (
    <div class="stack">
      {of.map((attempt) => (
        <details key={attempt.number} open={attempt.error !== null && attempt.number === of.length}>
          <summary>
            {attempt.number}.{' '}
            <Badge
              text={attempt.outcome ?? 'running'}
              tone={attempt.outcome === 'succeeded' ? 'good' : attempt.outcome === 'failed' ? 'bad' : 'busy'}
            />{' '}
            on {attempt.worker ?? '?'}, <Time at={attempt.startedAt ?? attempt.receivedAt} />
            {attempt.startedAt !== null &&
              attempt.endedAt !== null &&
              `, ${duration(attempt.endedAt - attempt.startedAt)}`}
          </summary>
          {attempt.error !== null && <pre class="bad">{attempt.error}</pre>}
          {attempt.traceback !== null && <pre>{attempt.traceback}</pre>}
        </details>
      ))}
    </div>
  )
}

function Actions({ task, reload }: { task: TaskDetail; reload: () => void }) {
  const isOver = ended.includes(task.state)
  const retry = async (body: object): Promise<void> => {
    const { how, id } = await call<Retried>('POST', `${pathOf('tasks', task.id)}/retry`, body)
    say(how === 'redriven' ? 'Its dead letter went back to its queue' : `Sent anew as ${id}`)
    if (how === 'sent') go(`/tasks/${encodeURIComponent(id)}`)
    else reload()
  }
  const revoke = (terminate: boolean): void =>
    ask({
      title: terminate ? 'Terminate it?' : 'Revoke it?',
      text: terminate
        ? 'It is not to be run, and where it runs it is ended.'
        : 'No worker is to run it. Where it runs already, it goes on.',
      verb: terminate ? 'Terminate' : 'Revoke',
      isDangerous: true,
      async act() {
        await call('POST', `${pathOf('tasks', task.id)}/revoke`, { terminate })
        say('The workers were told')
        reload()
      },
    })
  const edit = (): void =>
    ask({
      title: 'Retry with other arguments',
      verb: 'Retry',
      text:
        task.retryable === 'no'
          ? 'Its arguments are known only as a text that is cut or hidden; give them whole.'
          : undefined,
      fields: [
        { name: 'args', label: 'Arguments', value: jsonOf(task.args, '[]'), isJson: true },
        { name: 'kwargs', label: 'Keyword arguments, or the input', value: jsonOf(task.kwargs, '{}'), isJson: true },
        { name: 'queue', label: 'Queue', value: task.queue ?? '', isOptional: true },
      ],
      act: ({ args = '[]', kwargs = '{}', queue = '' }) =>
        retry({
          args: JSON.parse(args) as unknown,
          kwargs: JSON.parse(kwargs) as unknown,
          ...(queue !== '' && { queue }),
        }),
    })
  return (
    <>
      <Action
        needs="operator"
        onClick={() => retry({})}
        title={task.retryable === 'no' ? 'Its arguments are not known whole' : 'With the arguments it had'}
      >
        Retry
      </Action>
      <Action needs="operator" onClick={edit}>
        Retry with edits …
      </Action>
      {!isOver && (
        <Action needs="operator" onClick={() => revoke(false)}>
          Revoke …
        </Action>
      )}
      {!isOver && (
        <Action needs="operator" kind="danger" onClick={() => revoke(true)}>
          Terminate …
        </Action>
      )}
    </>
  )
}

/** What was told, as JSON to be edited. */
function jsonOf(text: string | null, otherwise: string): string {
  const value = text === null ? undefined : readRepr(text)
  return value === undefined ? otherwise : JSON.stringify(value, null, 2)
}
