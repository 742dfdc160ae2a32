import type { DeadLetter, DeadLetterGroup, LetterFilter, Started } from '../../../src/monitor/api-types.ts'
import { call, useResource } from '../api.ts'
import { count } from '../format.ts'
import { jobs } from '../live.ts'
import { query, withQuery } from '../router.ts'
import { Action, Badge, Card, Loaded, Page, say, Table, Time } from '../ui/basics.tsx'
import { ask } from '../ui/dialog.tsx'
import { Value } from '../ui/tree.tsx'
import { Jobs } from './tasks.tsx'

export function DeadLetters() {
  const group = query.value.get('group')
  const queue = query.value.get('queue') ?? undefined
  const groups = useResource<readonly DeadLetterGroup[]>('/dead-letters/groups', 10_000)
  return (
    <Page
      title="Dead letters"
      actions={
        groups.data !== undefined &&
        groups.data.length > 0 && (
          <LetterActions letters={{}} what="all dead letters" groups={groups.data} reload={groups.reload} />
        )
      }
    >
      <Jobs />
      <Loaded of={groups} empty="None. Tasks that are given up are kept here, to be looked at and sent again.">
        {(data) => (
          <div class="stack">
            <Card title="Alike ones together">
              <Table
                caption="Groups of dead letters"
                rows={data}
                keyOf={({ fingerprint, queue: name }) => `${fingerprint} ${name}`}
                columns={[
                  { title: 'Count', isNumber: true, of: (one) => count(one.count) },
                  {
                    title: 'Task',
                    of: ({ task, fingerprint, queue: name }) => (
                      <a
                        href={withQuery({ group: fingerprint, queue: name })}
                        aria-current={group === fingerprint ? 'true' : undefined}
                      >
                        {task ?? 'not readable'}
                      </a>
                    ),
                  },
                  { title: 'Queue', isMinor: true, of: ({ queue: name }) => name },
                  {
                    title: 'Why',
                    of: ({ reason, type, message }) => (
                      <>
                        <Badge text={reason} tone="bad" /> {type !== null && <strong>{type}: </strong>}
                        {message}
                      </>
                    ),
                  },
                  { title: 'Where', isMinor: true, of: ({ place }) => <span class="mono">{place ?? '–'}</span> },
                  { title: 'Latest', of: ({ latest }) => <Time at={latest} /> },
                  {
                    title: '',
                    of: ({ fingerprint, queue: name, task, count: n }) => (
                      <LetterActions
                        letters={{ fingerprint, queue: name }}
                        what={`${count(n)} of ${task ?? name}`}
                        reload={groups.reload}
                      />
                    ),
                  },
                ]}
              />
            </Card>
            {group !== null && <Letters key={`${group} ${queue}`} group={group} queue={queue} reload={groups.reload} />}
          </div>
        )}
      </Loaded>
    </Page>
  )
}

function Letters({ group, queue, reload }: { group: string; queue: string | undefined; reload: () => void }) {
  const search = new URLSearchParams({ fingerprint: group, limit: '100', ...(queue !== undefined && { queue }) })
  const letters = useResource<readonly DeadLetter[]>(`/dead-letters?${search}`)
  return (
    <Card title="Of this group" extra={<a href={withQuery({ group: undefined, queue: undefined })}>close</a>}>
      <Loaded of={letters} empty="None any more.">
        {(data) => (
          <div class="stack">
            {data.map((letter) => (
              <details key={letter.id} class="card">
                <summary>
                  <code>{letter.id}</code> <Time at={letter.at} />,{' '}
                  {letter.attempts.length === 1 ? 'one attempt' : `${letter.attempts.length} attempts`}
                </summary>
                <div class="stack">
                  <div class="actions">
                    <LetterActions
                      letters={{ ids: [letter.id], queue: letter.queue }}
                      what="this one"
                      one={letter}
                      reload={() => {
                        letters.reload()
                        reload()
                      }}
                    />
                    <a href={`/tasks/${encodeURIComponent(letter.id)}`}>the task</a>
                  </div>
                  <Value value={{ args: letter.args, kwargs: letter.kwargs }} isOpen />
                  {letter.next.length > 0 && <p>Waiting behind it: {letter.next.join(' → ')}</p>}
                  {letter.error?.traceback && <pre>{letter.error.traceback}</pre>}
                </div>
              </details>
            ))}
          </div>
        )}
      </Loaded>
    </Card>
  )
}

/** @param groups where all of them are meant: the queues they are of */
function LetterActions({
  letters,
  what,
  one,
  groups,
  reload,
}: {
  letters: LetterFilter
  what: string
  one?: DeadLetter
  groups?: readonly DeadLetterGroup[]
  reload: () => void
}) {
  const filters =
    groups === undefined ? [letters] : [...new Set(groups.map(({ queue }) => queue))].map((queue) => ({ queue }))
  const start = async (verb: 'redrive' | 'discard', body: object): Promise<void> => {
    for (const filter of filters) {
      const { job } = await call<Started>('POST', `/dead-letters/${verb}`, { letters: filter, ...body })
      if (job !== null) jobs.value = new Map(jobs.value).set(job.id, job)
    }
    say('It is under way')
    setTimeout(reload, 800)
  }
  return (
    <div class="actions">
      <Action
        needs="operator"
        onClick={() =>
          ask({
            title: `Redrive ${what}?`,
            text: 'They go back to their queues with the rest of their pipelines, as if they had not been tried.',
            verb: 'Redrive',
            fields: [
              { name: 'perSecond', label: 'At most so many a second', type: 'number', isOptional: true },
              ...(one === undefined
                ? []
                : [
                    { name: 'args', label: 'Arguments', value: JSON.stringify(one.args, null, 2), isJson: true },
                    {
                      name: 'kwargs',
                      label: 'Keyword arguments, or the input',
                      value: JSON.stringify(one.kwargs, null, 2),
                      isJson: true,
                    },
                  ]),
            ],
            act: ({ perSecond = '', args, kwargs }) =>
              start('redrive', {
                perSecond: perSecond === '' ? null : Number(perSecond),
                edit: editOf(one, args, kwargs),
              }),
          })
        }
      >
        Redrive …
      </Action>
      <Action
        needs="admin"
        kind="danger"
        onClick={() =>
          ask({
            title: `Discard ${what}?`,
            text: 'They are gone for good.',
            verb: 'Discard',
            isDangerous: true,
            act: () => start('discard', {}),
          })
        }
      >
        Discard …
      </Action>
    </div>
  )
}

/** Only what was changed: hidden secrets must not become the arguments. */
function editOf(letter: DeadLetter | undefined, args: string | undefined, kwargs: string | undefined): object | null {
  if (letter === undefined || args === undefined || kwargs === undefined) return null
  const isSame = (text: string, value: unknown): boolean => JSON.stringify(JSON.parse(text)) === JSON.stringify(value)
  const edit = {
    ...(!isSame(args, letter.args) && { args: JSON.parse(args) as unknown }),
    ...(!isSame(kwargs, letter.kwargs) && { kwargs: JSON.parse(kwargs) as unknown }),
  }
  return Object.keys(edit).length === 0 ? null : edit
}
