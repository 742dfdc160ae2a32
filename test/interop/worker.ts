/** A worker of our service as a process of its own. What it is to do is in its environment. */
import { Celeriac } from 'celeriac'
import { defineTasks } from './service.ts'

const { URL = '', RESULTS, LOG = '', QUEUE = '' } = process.env

const app = new Celeriac('interop', { broker: URL, results: RESULTS ?? true, lease: '1s' })
defineTasks(app, LOG)
await app.worker({ queues: [QUEUE], concurrency: 2 })
console.log('ready')
