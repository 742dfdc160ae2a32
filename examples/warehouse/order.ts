/** What an order is, for the receiver that checks it and for the tasks it passes through. */
import { z } from 'zod'

/** More units than this is a pallet, not a parcel. It also bounds the time that packing one order can take. */
const maxUnits = 100

export const OrderLine = z.strictObject({
  sku: z.string().regex(/^SKU-\d{4}$/, 'must look like SKU-0042'),
  quantity: z.int('must be a whole number').min(1, 'must be at least 1').max(20, 'must be at most 20'),
})

export const Order = z
  .strictObject({
    // The id is the key of everything the order causes, and it names the packing slip's file: nothing but these
    // characters, or an order could name a file elsewhere.
    id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,39}$/, 'must be 1 to 40 letters, digits and dashes'),
    customer: z.string().min(1, 'must not be empty').max(80),
    city: z.string().min(1, 'must not be empty').max(80),
    lines: z.array(OrderLine).min(1, 'must have at least one line').max(20, 'must have at most 20 lines'),
  })
  .superRefine(({ lines }, context) => {
    const fault = (message: string) => context.addIssue({ code: 'custom', path: ['lines'], message })
    const skus = new Set(lines.map((line) => line.sku))
    if (skus.size < lines.length) fault('must name each SKU once')
    const units = lines.reduce((sum, line) => sum + line.quantity, 0)
    if (units > maxUnits) fault(`must have at most ${maxUnits} units in all`)
  })

export type OrderLine = z.infer<typeof OrderLine>
export type Order = z.infer<typeof Order>

/** An order whose goods have left the shelf. */
export interface PickedOrder {
  readonly order: Order
  /** Where each line was found, in the order of the lines. */
  readonly aisles: readonly string[]
}

/** An order in its boxes. */
export interface PackedOrder {
  readonly order: Order
  readonly boxes: readonly { readonly type: string; readonly weightG: number }[]
  /** The packing slip's file name, and the checksum it ends with. */
  readonly slip: string
  readonly sha256: string
}

/** An order the courier has taken over. */
export interface DeliveredOrder {
  readonly id: string
  /** The courier's number for the parcel. */
  readonly tracking: string
}
