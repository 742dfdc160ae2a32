import type { Broker } from '../../../src/monitor/api-types.ts'
import { useResource } from '../api.ts'
import { bytes, count, duration } from '../format.ts'
import { overview } from '../live.ts'
import { Card, Facts, Loaded, Page } from '../ui/basics.tsx'
import { Value } from '../ui/tree.tsx'

export function BrokerPage() {
  const broker = useResource<Broker>('/broker', 10_000)
  return (
    <Page title="Broker">
      <Loaded of={broker}>
        {(data) => (
          <div class="stack">
            {data.error !== null && (
              <p class="trouble" role="alert">
                It does not answer: {data.error}
              </p>
            )}
            <Card label="The broker">
              <Facts
                of={[
                  ['Address', <code key="url">{data.url}</code>],
                  ['Product', data.product || '–'],
                  ['Version', data.serverVersion ?? '–'],
                  ['Answers within', duration(data.latencyMs)],
                  [
                    'Memory',
                    data.memoryBytes === null
                      ? '–'
                      : `${bytes(data.memoryBytes)}${data.memoryLimitBytes === null ? '' : ` of ${bytes(data.memoryLimitBytes)}`}`,
                  ],
                  ['Connections', data.connections === null ? '–' : count(data.connections)],
                  ['Size on disk', bytes(data.fileBytes)],
                  ['Monitor', `celeriac ${data.version}`],
                ]}
              />
            </Card>
            <div class="grid">
              <Card title="What it says of itself">
                <Value value={data.facts} isOpen />
              </Card>
              <Card title="What it can do">
                <Value value={data.capabilities} isOpen />
              </Card>
              <Card title="What the monitor has taken in">
                <Value value={overview.value?.events ?? {}} isOpen />
              </Card>
            </div>
          </div>
        )}
      </Loaded>
    </Page>
  )
}
