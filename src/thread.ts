/**
 * Starts a module of this package in a worker thread. From the published JavaScript that is all there is to it; when
 * the package runs from its TypeScript sources on a Node that cannot read them, the thread loads them through jiti.
 */
import { Worker } from 'node:worker_threads'

export function startThread(module: URL, workerData: unknown): Worker {
  const options = { workerData, stdout: false, stderr: false }
  if (!module.pathname.endsWith('.ts') || 'typescript' in process.features) return new Worker(module, options)
  const load = `import('jiti').then(({ createJiti }) => createJiti(${JSON.stringify(module.href)}).import(${JSON.stringify(module.pathname)}))`
  return new Worker(load, { ...options, eval: true })
}
