import type { Pipeline, Stage } from '../../../src/monitor/api-types.ts'
import { useResource } from '../api.ts'
import { count, duration, percent, rate } from '../format.ts'
import { Card, Facts, Loaded, Meter, Page } from '../ui/basics.tsx'

export function Pipelines() {
  const pipelines = useResource<readonly Pipeline[]>('/pipelines', 5_000)
  return (
    <Page title="Pipelines">
      <Loaded
        of={pipelines}
        empty="No pipelines yet. They show once tasks have sent tasks: chains, groups and chords of a fleet whose events are heard."
      >
        {(data) => (
          <div class="stack">
            {data.map((pipeline) => (
              <One key={pipeline.id} pipeline={pipeline} />
            ))}
          </div>
        )}
      </Loaded>
    </Page>
  )
}

function One({ pipeline: { name, stages, bottleneck } }: { pipeline: Pipeline }) {
  return (
    <Card title={name}>
      <ol class="stages">
        {stages.map((stage) => (
          <StageCard key={stage.task} stage={stage} isNarrow={bottleneck?.task === stage.task} />
        ))}
      </ol>
      {bottleneck === null ? (
        <p class="note">Nothing keeps it back at present.</p>
      ) : (
        <div class="verdict">
          <strong>
            The bottleneck is {bottleneck.task}: {bottleneck.reason}.
          </strong>
          <p>
            {bottleneck.advice}
            {bottleneck.oneMoreWorker?.drainMs != null &&
              bottleneck.oneMoreWorker.drainMs > 0 &&
              ` What waits is done within ${duration(bottleneck.oneMoreWorker.drainMs)} then.`}
          </p>
          {bottleneck.command !== null && <pre>{bottleneck.command}</pre>}
        </div>
      )}
    </Card>
  )
}

function StageCard({ stage, isNarrow }: { stage: Stage; isNarrow: boolean }) {
  const { task, queue, ready, delayed, inFlight, outPerS, failedPerS, wait, run, slots, utilisation, workers } = stage
  return (
    <li class={`stage ${isNarrow ? 'narrow' : ''}`}>
      <h3>
        <a href={`/tasks?name=${encodeURIComponent(task)}`}>{task}</a>
      </h3>
      <Facts
        of={[
          ['Queue', queue === null ? 'not known yet' : <a href={`/queues/${encodeURIComponent(queue)}`}>{queue}</a>],
          ['Waiting', `${count(ready)}${delayed === 0 ? '' : `, ${count(delayed)} later`}`],
          ['Running', `${count(inFlight)} in ${slots ?? '?'} slots`],
          ['Done', `${rate(outPerS)}${failedPerS === 0 ? '' : `, ${rate(failedPerS)} fail`}`],
          ['Wait p50 / p95', `${duration(wait.p50Ms)} / ${duration(wait.p95Ms)}`],
          ['Run p50 / p95', `${duration(run.p50Ms)} / ${duration(run.p95Ms)}`],
          [
            'Busy',
            utilisation === null ? (
              '–'
            ) : (
              <>
                <Meter share={utilisation} label={`slots of ${task} busy`} /> {percent(utilisation)}
              </>
            ),
          ],
          ['Workers', count(workers.length)],
        ]}
      />
    </li>
  )
}
