/**
 * Makes `skus.csv` and `orders.csv`: the same seed gives the same bytes. The files in this folder came from
 *
 *     node scripts/run-ts.mjs examples/warehouse/orders/generate.ts --orders 6000 --seed 1
 *
 * Demand follows Zipf's law, as in most shops: a handful of SKUs is in every third order, the long tail in hardly any.
 * Some SKUs are sold out or nearly so, some orders come twice (an impatient double click), and some lines are broken
 * in the ways that files from elsewhere are.
 */
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Order, OrderLine } from '../order.ts'
import { type Random, seeded, zipf } from '../random.ts'
import { orderHeader, toOrderLine } from './read.ts'
import { type Sku, skuHeader, toCsvLine } from './skus.ts'

const skuCount = 240
const customerCount = 900
const aisles = [...'ABCDEFGHIJKL']
const cities = ['Lisbon', 'Lyon', 'Leeds', 'Linz', 'Lodz', 'Lund', 'Lugano', 'Leiden', 'Limerick', 'Ljubljana']
const firstNames = ['Ada', 'Bo', 'Carla', 'Dov', 'Edith', 'Femi', 'Grete', 'Hugo', 'Ines', 'Jun', 'Kira', 'Luis']
const lastNames = ['Abel', 'Brandt', 'Costa', 'Diallo', 'Eriksen', 'Fontana', 'Grau', 'Haas', 'Ito', 'Jansen', 'Kaur']
const materials = ['Oak', 'Steel', 'Linen', 'Glass', 'Cork', 'Copper', 'Wool', 'Clay', 'Paper', 'Birch', 'Felt', 'Tin']
const things = ['lamp', 'stool', 'tray', 'kettle', 'shelf', 'clock', 'bowl', 'rug', 'frame', 'hook', 'vase', 'box']

/** How often things go wrong in the file, as shares of its lines. */
const shares = { broken: 0.015, twice: 0.005 }

/** What can be wrong with a line. The first five are not even an order; the others are one that cannot be accepted. */
const faults: readonly ((line: string, random: Random) => string)[] = [
  (line, random) => line.slice(0, random.whole(4, line.indexOf(';') === -1 ? 20 : line.lastIndexOf(','))),
  (line) => line.replaceAll(',', ';'),
  (line) => line.replace(/x\d+/, ''),
  (line) => line.replace(/SKU-/, '2 of SKU-'),
  (line) => line.replace(/[^,]*$/, ''),
  (line, random) => line.replace(/SKU-\d{4}/, `SKU-${random.whole(9000, 9999)}`),
  (line) => line.replace(/x\d+/, 'x0'),
  (line) => line.replace(/x\d+/, 'x-1'),
  (line) => line.replace(/x\d+/, 'x1.5'),
  (line) => line.replace(/x\d+/, 'x5000'),
  (line) => line.replace(/,[^,]*,/, ',,'),
]

/** The lines of both files, headers included. */
export function generate(orders: number, seed: number): { skus: string[]; orders: string[] } {
  const catalogue = inventSkus(seeded('skus', seed))
  return {
    skus: [skuHeader, ...catalogue.map(toCsvLine)],
    orders: [orderHeader, ...inventOrderLines(catalogue, orders, seeded('orders', seed))],
  }
}

function inventSkus(random: Random): Sku[] {
  const names = random.shuffle(materials.flatMap((material) => things.map((thing) => `${material} ${thing}`)))
  return Array.from({ length: skuCount }, (_, index) => {
    const sizeMm = [random.whole(8, 38), random.whole(6, 26), random.whole(2, 18)].map((cm) => cm * 10)
    const [length = 0, width = 0, height = 0] = sizeMm
    const litres = (length * width * height) / 1e6
    const soldOut = index > 20 && random.next() < 0.04
    const runsOutSoon = index > 20 && random.next() < 0.04
    return {
      sku: `SKU-${String(index + 1).padStart(4, '0')}`,
      name: `${names[index % names.length]}${index < names.length ? '' : ' XL'}`,
      aisle: aisles[index % aisles.length] as string,
      stock: soldOut ? 0 : runsOutSoon ? random.whole(1, 6) : 20_000,
      weightG: Math.round(60 + litres * random.whole(80, 600)),
      sizeMm: [length, width, height],
    }
  })
}

function inventOrderLines(catalogue: readonly Sku[], count: number, random: Random): string[] {
  const demand = zipf(catalogue.length, random)
  const customer = zipf(customerCount, random)
  const lines: string[] = []
  while (lines.length < count) {
    const line = toOrderLine(inventOrder(lines.length + 1, catalogue, demand, customer, random))
    const chance = random.next()
    if (chance < shares.broken) {
      lines.push(random.pick(faults)(line, random))
    } else if (chance < shares.broken + shares.twice && lines.length + 2 <= count) {
      lines.push(line, line)
    } else {
      lines.push(line)
    }
  }
  return lines
}

function inventOrder(
  number: number,
  catalogue: readonly Sku[],
  demand: () => number,
  customer: () => number,
  random: Random,
): Order {
  const wanted = Math.min(8, 1 + Math.floor(-Math.log(1 - random.next()) * 1.6))
  const lines = new Map<string, OrderLine>()
  while (lines.size < wanted) {
    const { sku } = catalogue[demand()] as Sku
    lines.set(sku, { sku, quantity: random.next() < 0.7 ? 1 : random.whole(2, 4) })
  }
  const who = customer()
  return {
    id: `O-${String(number).padStart(6, '0')}`,
    // A customer keeps name and city from order to order.
    customer: `${firstNames[who % firstNames.length]} ${lastNames[who % lastNames.length]} ${who + 1}`,
    city: cities[(who * 7) % cities.length] as string,
    lines: [...lines.values()],
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      orders: { type: 'string', default: '6000' },
      seed: { type: 'string', default: '1' },
      out: { type: 'string', default: import.meta.dirname },
    },
  })
  const files = generate(Number(values.orders), Number(values.seed))
  await writeFile(join(values.out, 'skus.csv'), `${files.skus.join('\n')}\n`)
  await writeFile(join(values.out, 'orders.csv'), `${files.orders.join('\n')}\n`)
  console.log(`wrote ${files.orders.length - 1} orders and ${files.skus.length - 1} SKUs to ${resolve(values.out)}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
