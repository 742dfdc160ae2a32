/** Where a monitor remembers things, unless it is told: beside the file of the tasks, or in the folder one is in. */
import { dirname, join } from 'node:path'
import { inMemory } from '../monitor/store/database.ts'
import { fileOf } from './connection.ts'

export function defaultMonitorFile(broker: string): string {
  if (/^memory:/i.test(broker)) return inMemory
  const file = fileOf(broker)
  return join(file === undefined ? '.' : dirname(file), 'celeriac-monitor.db')
}
