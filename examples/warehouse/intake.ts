/** What the receiver does with a good order: sends it down the chain, and notes in the ledger that it was accepted. */
import type { AsyncResult, Celeriac, ResultNode } from 'celeriac'
import type { Aisles } from './aisle.ts'
import type { fulfil as Fulfil } from './app.ts'
import type { Ledger } from './ledger.ts'
import type { Order } from './order.ts'
import type { Intake, OrderProgress } from './receiver.ts'

export interface IntakeParts {
  readonly app: Celeriac
  readonly fulfil: typeof Fulfil
  readonly ledger: Ledger
  readonly aisles: Aisles
}

export function createIntake({ app, fulfil, ledger, aisles }: IntakeParts): Intake {
  /** Orders being sent at this moment: a second request for one waits for the first instead of sending it twice. */
  const sending = new Map<string, Promise<void>>()

  async function send(order: Order): Promise<void> {
    const result = await fulfil(order).delay()
    ledger.add({ order, taskIds: taskIdsOf(result) })
  }

  return {
    async accept(order) {
      if (ledger.find(order.id) !== undefined) return { repeated: true }
      const underway = sending.get(order.id)
      if (underway !== undefined) {
        await underway
        return { repeated: true }
      }
      const sent = send(order).finally(() => sending.delete(order.id))
      sending.set(order.id, sent)
      await sent
      return { repeated: false }
    },

    async progress(orderId) {
      const [firstTaskId] = ledger.find(orderId)?.taskIds ?? []
      if (firstTaskId === undefined) return undefined
      return toProgress(orderId, await app.result(firstTaskId).tree())
    },

    restock: (sku, quantity) => aisles.restock(sku, quantity),
  }
}

/** Ids of a chain's tasks from its first to its last, which is the one whose result we hold. */
function taskIdsOf(last: AsyncResult<unknown>): string[] {
  const ids: string[] = []
  for (let step: AsyncResult['parent'] = last; step !== undefined; step = step.parent) ids.unshift(step.id)
  return ids
}

function toProgress(id: string, root: ResultNode): OrderProgress {
  const steps: ResultNode[] = []
  for (let step: ResultNode | undefined = root; step !== undefined; step = step.children[0]) steps.push(step)
  const last = steps.at(-1)
  const state = steps.some((step) => step.state === 'FAILURE')
    ? 'failed'
    : steps.length === 3 && last?.state === 'SUCCESS'
      ? 'delivered'
      : 'in progress'
  return { id, state, steps: steps.map(({ children: _, ...step }) => step) }
}
