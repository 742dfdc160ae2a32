/** Tasks as `inspect` shows them. */
import type { Delivery } from '../broker/broker.ts'
import { argsRepr, kwargsRepr } from '../send/repr.ts'
import type { Attempt } from '../work/attempt.ts'
import type { Worker } from '../work/worker.ts'
import type { RequestInfo } from './replies.ts'

/** What runs. `safe` = arguments as texts. */
export function activeInfos(worker: Worker, safe: boolean): RequestInfo[] {
  return worker.active().map(({ attempt, pid }) => activeInfo(worker, attempt, pid, safe))
}

function activeInfo(worker: Worker, attempt: Attempt, pid: number | null, safe: boolean): RequestInfo {
  const { delivery, message, definition, startedAt } = attempt
  return {
    id: message.id,
    name: message.task,
    args: safe ? argsRepr(message.args) : message.args,
    kwargs: safe ? kwargsRepr(message.kwargs) : message.kwargs,
    type: message.task,
    hostname: worker.name,
    time_start: startedAt === null ? null : startedAt / 1_000,
    acknowledged: !definition.options.acksLate,
    delivery_info: deliveryInfo(delivery),
    worker_pid: pid ?? process.pid,
  }
}

/** What was fetched and waits for a slot. It has not been read beyond its headers, so its arguments are texts. */
export function reservedInfos(worker: Worker): RequestInfo[] {
  return worker.reserved().map((delivery): RequestInfo => {
    const { id, task, argsrepr, kwargsrepr } = delivery.message.headers
    return {
      id: String(id),
      name: String(task),
      args: argsrepr ?? '()',
      kwargs: kwargsrepr ?? '{}',
      type: String(task),
      hostname: worker.name,
      time_start: null,
      acknowledged: false,
      delivery_info: deliveryInfo(delivery),
      worker_pid: null,
    }
  })
}

function deliveryInfo({ queue, message, deliveryCount }: Delivery): RequestInfo['delivery_info'] {
  const { priority = null } = message.properties
  return { exchange: '', routing_key: queue, priority, redelivered: deliveryCount > 1 }
}
