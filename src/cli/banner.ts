/** What a starting worker says to people: who it is, where it is connected, and what it can run. */
import type { Celeriac } from '../app.ts'
import { redacted } from '../redacted.ts'
import type { Worker } from '../work/worker.ts'
import type { Paint } from './terminal.ts'

/** More tasks than this are counted, not listed. */
const tasksShown = 20

export function banner(app: Celeriac, worker: Worker, version: string, paint: Paint): string {
  const { queues, pool, poolSizes, prefetch } = worker.settings
  const { broker, results } = app.config
  const facts = [
    ['app', app.name],
    ['broker', redacted(broker)],
    ['results', results === undefined ? 'none are kept' : results === broker ? 'with the broker' : redacted(results)],
    ['queues', queues.join(', ')],
    ['pool', `${pool}, ${poolSizes[pool]} at once${prefetch === undefined ? '' : `, ${prefetch} fetched ahead`}`],
  ]
  const names = app.registry.names()
  const tasks = names.slice(0, tasksShown).map((name) => `    ${paint('cyan', name)}`)
  if (names.length > tasksShown) tasks.push(`    and ${names.length - tasksShown} more`)
  return [
    '',
    `  ${paint('green', `celeriac ${version}`)}  ${paint('bold', worker.name)}`,
    '',
    ...facts.map(([label = '', value = '']) => `  ${paint('dim', label.padEnd(10))}${value}`),
    `  ${paint('dim', 'tasks')}${names.length === 0 ? '     none: this worker can run nothing' : ''}`,
    ...tasks,
    '',
    '',
  ].join('\n')
}
