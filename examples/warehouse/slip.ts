/**
 * Packing slips: one text file per order, named by it, ending with the checksum of everything above.
 *
 * A slip is written beside its place and moved there in one step, so under its name there is either a whole slip or
 * none, whenever the process is killed. The text depends on nothing but the order and its boxes: writing it again
 * gives the same file.
 */
import { createHash, randomUUID } from 'node:crypto'
import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Order } from './order.ts'
import type { Box } from './packing.ts'

export interface Slip {
  /** File name within the folder of slips. */
  readonly slip: string
  readonly sha256: string
}

/** Resolves once the whole slip is in its place. */
export async function writeSlip(folder: string, order: Order, boxes: readonly Box[]): Promise<Slip> {
  const text = slipText(order, boxes)
  const sha256 = checksum(text)
  const slip = `${order.id}.txt`
  const beside = join(folder, `.${slip}.${randomUUID()}`)
  await writeFile(beside, `${text}sha256 ${sha256}\n`)
  await rename(beside, join(folder, slip))
  return { slip, sha256 }
}

/** Every order with a slip in the folder, and whether the slip's checksum is right. */
export async function readSlips(folder: string): Promise<Map<string, boolean>> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.txt'))
  const checked = files.map(async (file) => {
    const whole = await readFile(join(folder, file), 'utf8')
    const end = whole.lastIndexOf('sha256 ')
    return [file.slice(0, -'.txt'.length), whole.slice(end) === `sha256 ${checksum(whole.slice(0, end))}\n`] as const
  })
  return new Map(await Promise.all(checked))
}

function slipText(order: Order, boxes: readonly Box[]): string {
  const lines = [`packing slip ${order.id}`, `${order.customer}, ${order.city}`]
  for (const [index, { type, content, weightG }] of boxes.entries()) {
    lines.push('', `box ${index + 1} of ${boxes.length}: ${type.name}, ${type.sizeMm.join(' × ')} mm, ${weightG} g`)
    for (const { goods, at, sizeMm } of content) {
      lines.push(`  ${goods.sku}  ${sizeMm.join(' × ')} mm at ${at.join(', ')}`)
    }
  }
  return `${lines.join('\n')}\n\n`
}

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
