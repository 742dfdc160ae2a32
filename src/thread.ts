/**
 * Starts a module of this package in a worker thread. From the published JavaScript that is all there is to it; when
 * the package runs from its TypeScript sources on a Node that cannot read them, the thread loads them through jiti.
 */
import { type ResourceLimits, Worker } from 'node:worker_threads'

/** Enough for what our threads do; V8 would set aside many times more for each. In MB. */
const ourLimits: ResourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 }

/** @param limits V8's, for threads that run no code of users */
export function startThread(module: URL, workerData: unknown, limits: ResourceLimits = ourLimits): Worker {
  const options = { workerData, stdout: false, stderr: false, resourceLimits: limits }
  if (!module.pathname.endsWith('.ts') || 'typescript' in process.features) return new Worker(module, options)
  const load = `import('jiti').then(({ createJiti }) => createJiti(${JSON.stringify(module.href)}).import(${JSON.stringify(module.pathname)}))`
  return new Worker(load, { ...options, eval: true })
}
