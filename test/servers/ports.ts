/**
 * Free loopback ports, below the range from which systems take those of outgoing connections (32768 and up on Linux,
 * 49152 by IANA): there, a client that knocks at a stopped server's port can be connected with itself, and a restart can
 * find its port taken.
 */
import { createServer } from 'node:net'

const first = 10_240
const count = 22_000

export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = first + Math.floor(Math.random() * count)
    if (await isFree(port)) return port
  }
  throw new Error('no free port was found in 200 tries')
}

export async function freePorts(wanted: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < wanted) ports.add(await freePort())
  return [...ports]
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
