/** Collects the books of everybody who took part, once the warehouse is quiet. */
import type { Celeriac } from 'celeriac'
import { readBook } from './courier.ts'
import type { AcceptedOrder } from './ledger.ts'
import type { Books } from './reconcile.ts'
import { readSlips } from './slip.ts'
import type { Stage } from './stages.ts'
import type { StageFacts } from './summary.ts'
import type { Warehouse } from './warehouse.ts'

export async function collectBooks(warehouse: Warehouse, answered: Iterable<string>): Promise<Books> {
  const { app, aisles, ledger, files } = warehouse
  const accepted = ledger.all()
  const orderOfTask = new Map(accepted.flatMap(({ order, taskIds }) => taskIds.map((taskId) => [taskId, order.id])))
  const deadLetters = await app.deadLetters.list({ limit: 1_000_000 })
  return {
    answered: [...answered],
    accepted: accepted.map(({ order }) => order),
    picks: aisles.picks(),
    stock: aisles.stock(),
    slips: await readSlips(files.slips),
    deliveries: readBook(files.courierBook),
    deadLetters: deadLetters.map(({ id, queue, reason, error }) => ({
      orderId: orderOfTask.get(id) ?? `unknown task ${id}`,
      queue,
      reason: error?.type ?? reason,
    })),
  }
}

/** When each order's message was sent to each stage, which only the stored results know. */
export async function collectStageFacts(
  app: Celeriac,
  accepted: readonly AcceptedOrder[],
  stages: readonly Stage[],
  workersPerStage: number,
): Promise<StageFacts[]> {
  const facts = stages.map(async ({ queue, task, concurrency }, step): Promise<StageFacts> => {
    const records = (await app.results?.load(accepted.map(({ taskIds }) => taskIds[step] ?? ''))) ?? []
    const sent = new Map<string, { at: number; retries: number }>()
    for (const [index, { order }] of accepted.entries()) {
      const record = records[index]
      if (record?.sentAt != null) sent.set(order.id, { at: record.sentAt, retries: record.retries })
    }
    return { queue, task, slots: concurrency * workersPerStage, sent }
  })
  return Promise.all(facts)
}
