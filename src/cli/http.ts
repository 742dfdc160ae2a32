/** `--http-port`: whether the worker is well, and what it measures, for orchestrators and Prometheus. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CeleriacError } from '../errors.ts'
import { metricsContentType } from '../prometheus.ts'
import type { Worker } from '../work/worker.ts'
import { messageOf } from './failure.ts'
import { WorkerMetrics } from './metrics.ts'
import type { HttpAddress } from './values.ts'

export interface WatchedWorker {
  readonly worker: Worker
  /** Names of the tasks that it can run. */
  readonly tasks: readonly string[]
  readonly version: string
}

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

const json = 'application/json; charset=utf-8'

export class HttpService {
  readonly #server: Server
  readonly #metrics = new WorkerMetrics()
  #watched: WatchedWorker | undefined

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  /** @throws CeleriacError `CONFIG_INVALID`: the port is taken, or may not be used */
  static async listen({ host, port }: HttpAddress): Promise<HttpService> {
    const service = new HttpService()
    const server = service.#server
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, host, resolve)
      })
    } catch (error) {
      service.#metrics.close()
      const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      const why = isTaken ? 'another program has it; give another, or 0 for any that is free' : messageOf(error)
      throw new CeleriacError('CONFIG_INVALID', `port ${port} of ${host} cannot be used for --http-port: ${why}`, {
        cause: error,
      })
    }
    return service
  }

  /** Where it answers, with the port that was found free. */
  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo
    return `http://${address.includes(':') ? `[${address}]` : address}:${port}`
  }

  /** From now on it is this one that is told about; before, and while none is, the answer is 503. */
  watch(watched: WatchedWorker): void {
    this.#watched = watched
  }

  async close(): Promise<void> {
    this.#metrics.close()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { status, type, body } = this.#answerTo(request)
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
    response.end(request.method === 'HEAD' ? undefined : body)
  }

  #answerTo({ method, url = '/' }: IncomingMessage): Answer {
    if (method !== 'GET' && method !== 'HEAD') return plain(405, 'it takes GET and HEAD')
    switch (url.split('?', 1)[0]) {
      case '/healthz':
        return this.#health()
      case '/metrics':
        return this.#measured()
      default:
        return plain(404, 'there are /healthz and /metrics')
    }
  }

  #health(): Answer {
    if (this.#watched === undefined) return { status: 503, type: json, body: '{"ok":false}\n' }
    const { worker } = this.#watched
    const { ok, ...rest } = worker.health()
    return { status: ok ? 200 : 503, type: json, body: `${JSON.stringify({ ok, worker: worker.name, ...rest })}\n` }
  }

  #measured(): Answer {
    if (this.#watched === undefined) return plain(503, 'the worker is starting')
    const { worker, tasks, version } = this.#watched
    return { status: 200, type: metricsContentType, body: this.#metrics.read(worker, tasks, version) }
  }
}

function plain(status: number, text: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${text}\n` }
}
