/** What a reader may try while the warehouse stays up. */
import type { Stock } from './aisle.ts'

export interface Running {
  readonly receiverUrl: string
  readonly monitorUrl: string | undefined
  readonly broker: string
  readonly folder: string
  readonly workers: readonly { readonly name: string; readonly pid: number | undefined }[]
  readonly stock: readonly Stock[]
}

export function nextSteps({ receiverUrl, monitorUrl, broker, folder, workers, stock }: Running): string {
  const inStock = stock.find(({ left }) => left > 0)?.sku
  const soldOut = stock.find(({ left }) => left === 0)?.sku ?? inStock
  const post = (body: unknown): string => `curl -s ${receiverUrl}/orders -d '${JSON.stringify(body)}'`
  const order = (id: string, sku: string | undefined) => ({
    id,
    customer: 'You',
    city: 'Here',
    lines: [{ sku, quantity: 2 }],
  })
  const [first] = workers

  return `
The warehouse stays open. In a browser: ${monitorUrl ?? 'celeriac monitor'}
In another terminal:

  an order, and how far it is
    ${post(order('mine-1', inStock))}
    curl -s ${receiverUrl}/orders/mine-1
  one that is refused, and one that finds its shelf empty
    ${post(order('mine-2', 'SKU-9999'))}
    ${post(order('mine-3', soldOut))}
  the queues, and the dead letters
    node bin/celeriac.js queue list -b ${broker}
    node bin/celeriac.js dlq list -b ${broker}
  fill the shelf, and let the dead letters go on from where they failed
    curl -s ${receiverUrl}/stock/${soldOut} -d '{"add":100}'
    node bin/celeriac.js dlq redrive --queue picking -b ${broker}
  kill a worker: another takes its place, and no order is lost
    kill -9 ${first?.pid ?? '<pid>'}   # ${workers.map(({ name, pid }) => `${name}: ${pid}`).join(', ')}

  Slips, logs and databases are in ${folder}
  Ctrl-C closes the warehouse and removes them.
`
}
