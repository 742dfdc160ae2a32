import type { Schedule } from '../../../src/monitor/api-types.ts'
import { call, pathOf, useResource } from '../api.ts'
import { count } from '../format.ts'
import { Action, Badge, Card, Loaded, Page, say, Table, Time } from '../ui/basics.tsx'
import { ask } from '../ui/dialog.tsx'

export function Schedules() {
  const schedules = useResource<readonly Schedule[]>('/schedules', 5_000)
  return (
    <Page title="Schedules">
      <Loaded of={schedules} empty="No schedules. Declare some with app.beat(), or add one with celeriac schedule add.">
        {(data) => (
          <Card label="Schedules">
            <Table
              caption="Schedules"
              rows={data}
              keyOf={({ name }) => name}
              columns={[
                {
                  title: 'Name',
                  of: ({ name, isPaused, lastError }) => (
                    <>
                      {name} {isPaused && <Badge text="paused" />}
                      {lastError !== null && <span class="bad">{lastError}</span>}
                    </>
                  ),
                },
                { title: 'Task', of: ({ task }) => <a href={`/tasks?name=${encodeURIComponent(task)}`}>{task}</a> },
                { title: 'When', of: ({ schedule }) => schedule },
                {
                  title: 'Next',
                  of: ({ nextAt, isPaused }) => (isPaused ? 'held' : <Time at={nextAt} none="no more" />),
                },
                {
                  title: 'Last',
                  of: ({ lastDueAt, lastId }) =>
                    lastId === null ? (
                      <Time at={lastDueAt} none="not yet" />
                    ) : (
                      <a href={`/tasks/${encodeURIComponent(lastId)}`}>
                        <Time at={lastDueAt} />
                      </a>
                    ),
                },
                { title: 'Sent', isNumber: true, of: ({ sent }) => count(sent) },
                {
                  title: 'Missed',
                  isNumber: true,
                  of: ({ missed }) => <span class={missed > 0 ? 'bad' : ''}>{count(missed)}</span>,
                },
                { title: 'Left out', isNumber: true, isMinor: true, of: ({ skipped }) => count(skipped) },
                { title: 'Of', isMinor: true, of: ({ source }) => (source === 'code' ? 'the app' : 'run time') },
                { title: '', of: (schedule) => <Actions schedule={schedule} reload={schedules.reload} /> },
              ]}
            />
          </Card>
        )}
      </Loaded>
    </Page>
  )
}

function Actions({ schedule: { name, isPaused, source }, reload }: { schedule: Schedule; reload: () => void }) {
  const act = async (verb: 'run' | 'pause' | 'resume', said: string): Promise<void> => {
    await call('POST', `${pathOf('schedules', name)}/${verb}`, {})
    say(said)
    reload()
  }
  return (
    <div class="actions">
      <Action needs="operator" onClick={() => act('run', `${name} was sent`)}>
        Run now
      </Action>
      <Action
        needs="operator"
        onClick={() => (isPaused ? act('resume', `${name} goes on`) : act('pause', `${name} is held`))}
      >
        {isPaused ? 'Resume' : 'Pause'}
      </Action>
      <Action
        needs="admin"
        kind="danger"
        onClick={() =>
          ask({
            title: `Remove ${name}?`,
            text:
              source === 'code'
                ? 'The application declares it: it comes back when a beat starts.'
                : 'It is gone for good.',
            verb: 'Remove',
            isDangerous: true,
            async act() {
              await call('DELETE', pathOf('schedules', name))
              say(`${name} is removed`)
              reload()
            },
          })
        }
      >
        Remove …
      </Action>
    </div>
  )
}
