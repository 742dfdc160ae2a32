/** What a worker's memory holds, for people who look for a leak. */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeHeapSnapshot as write } from 'node:v8'

/** As Celery's `memsample`: the resident size, and here also what JavaScript takes of it. */
export function memorySample(): string {
  const { rss, heapUsed, heapTotal, external } = process.memoryUsage()
  const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)}MB`
  return `rss ${megabytes(rss)}, heap ${megabytes(heapUsed)} of ${megabytes(heapTotal)}, external ${megabytes(external)}`
}

/** A snapshot for the memory panel of the Chrome DevTools. Stops the worker for seconds. @returns its path */
export function writeHeapSnapshot(): string {
  return write(join(tmpdir(), `celeriac-${process.pid}-${Date.now()}.heapsnapshot`))
}
