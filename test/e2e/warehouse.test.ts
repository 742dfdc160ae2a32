import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import type { Summary } from '../../examples/warehouse/summary.ts'
import { describeWith, rabbitmq, startRedis } from '../servers/index.ts'

const root = join(import.meta.dirname, '..', '..')
const start = join(root, 'scripts', 'start.mjs')
const timeoutMs = 150_000

/** The warehouse as `npm start -- …` runs it, up to its end. */
async function runWarehouse(...flags: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, [start, ...flags], { cwd: root })) }
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string }
  }
}

describe('npm start --once', () => {
  it('passes 60 orders through three stages, and prints nothing but a summary that adds up', {
    timeout: timeoutMs,
  }, async () => {
    const { code, stdout, stderr } = await runWarehouse('--once', '--orders', '60', '--courier-latency', '30', '--json')

    const summary = JSON.parse(stdout) as Summary
    expect(summary.reconciliation.checks.filter(({ holds }) => !holds)).toEqual([])
    expect({ code, ok: summary.ok }, stderr).toEqual({ code: 0, ok: true })
    expect(summary.orders.in).toBe(60)
    expect(summary.orders.accepted + summary.orders.rejected + summary.orders.repeated).toBe(60)
    expect(summary.delivered + summary.deadLettered - summary.reconciliation.deliveredUnawares).toBe(
      summary.orders.accepted,
    )
    expect(summary.delivered).toBeGreaterThan(40)
    expect(summary.tasks.retries).toBeGreaterThan(0)
    expect(summary.stages.map(({ stage }) => stage)).toEqual(['picking', 'packing', 'delivering'])
  })

  it('adds up although a worker is killed every second', { timeout: timeoutMs }, async () => {
    const flags = ['--once', '--orders', '40', '--courier-latency', '400', '--kill', '--json']

    const { code, stdout, stderr } = await runWarehouse(...flags)

    const summary = JSON.parse(stdout) as Summary
    expect(summary.reconciliation.checks.filter(({ holds }) => !holds)).toEqual([])
    expect({ code, ok: summary.ok }, stderr).toEqual({ code: 0, ok: true })
    expect(summary.workersKilled).toBeGreaterThan(0)
  })

  it('answers an unknown flag with the nearest right one', async () => {
    const { code, stdout, stderr } = await runWarehouse('--onse')

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('unknown flag --onse; did you mean --once?')
  })

  it('says so when its workers cannot start, and ends', { timeout: timeoutMs }, async () => {
    const { code, stderr } = await runWarehouse('--once', '--broker', 'carrier-pigeon://loft')

    expect(code).toBe(1)
    expect(stderr).toContain('carrier-pigeon')
  })
})

describeWith(['redis-server', 'rabbitmq'], 'npm start --once --broker', () => {
  it.each([
    ['Redis', async () => (await startRedis()).url],
    ['RabbitMQ', async () => (await rabbitmq()).url],
  ])('adds up on %s although workers are killed', { timeout: timeoutMs }, async (_name, server) => {
    const broker = await server()
    const flags = ['--once', '--orders', '20', '--courier-latency', '200', '--kill', '--json', '--broker', broker]

    const { code, stdout, stderr } = await runWarehouse(...flags)

    const summary = JSON.parse(stdout) as Summary
    expect(summary.reconciliation.checks.filter(({ holds }) => !holds)).toEqual([])
    expect({ code, ok: summary.ok }, stderr).toEqual({ code: 0, ok: true })
    expect(summary.delivered).toBeGreaterThan(10)
  })
})

describe('npm start', () => {
  it('stays open, and what it says to try works', { timeout: timeoutMs }, async () => {
    const warehouse = startWarehouse('--orders', '5', '--courier-latency', '10', '--courier-failure', '0')
    try {
      await warehouse.says(/The warehouse stays open[\s\S]*Ctrl-C/)
      const steps = warehouse.said().split('\n')
      const [order, progress, unknownSku, emptyShelf, restock] = steps.filter((step) => /^ +curl/.test(step)).map(curl)
      const [queues, letters, redrive] = steps.filter((step) => /^ +node bin/.test(step)).map((step) => command(step))

      expect((await order?.())?.status).toBe(202)
      await warehouse.says(/mine-1: warehouse\.deliver done/)
      const monitorUrl = /In a browser: (\S+)/.exec(warehouse.said())?.[1]
      const seen = async () => (await fetch(`${monitorUrl}/api/v1/tasks?name=warehouse.deliver&text=mine-1`)).json()
      await expect.poll(seen, { timeout: 25_000 }).toMatchObject({ tasks: [{ state: 'SUCCESS' }] })
      expect(await (await progress?.())?.json()).toMatchObject({
        steps: [{ name: 'warehouse.pick' }, { name: 'warehouse.pack' }, { name: 'warehouse.deliver' }],
      })
      expect((await unknownSku?.())?.status).toBe(422)
      expect((await emptyShelf?.())?.status).toBe(202)
      await warehouse.says(/mine-3: warehouse\.pick OutOfStock/)
      expect(await queues?.()).toContain('delivering')
      await expect.poll(() => letters?.(), { timeout: 25_000 }).toContain('OutOfStock')
      expect((await restock?.())?.status).toBe(200)
      await redrive?.()
      await warehouse.says(/mine-3: warehouse\.deliver done/)
      const pid = Number(/kill -9 (\d+)/.exec(warehouse.said())?.[1])
      process.kill(pid, 'SIGKILL')
      await warehouse.says(/picking-1 ended by itself \(signal SIGKILL\) and is started again/)
    } finally {
      await warehouse.interrupt()
    }
  })

  it('closes without a trace at Ctrl-C', { timeout: timeoutMs }, async () => {
    const warehouse = startWarehouse('--orders', '1', '--courier-latency', '10', '--courier-failure', '0')
    await warehouse.says(/The warehouse stays open[\s\S]*Ctrl-C/)
    const folder = /are in (\S+)/.exec(warehouse.said())?.[1] ?? ''
    const pids = [...warehouse.said().matchAll(/-1: (\d+)/g)].map(([, pid]) => Number(pid))
    expect(existsSync(folder)).toBe(true)
    expect(pids).toHaveLength(3)

    expect(await warehouse.interrupt()).toBe(0)

    expect(existsSync(folder)).toBe(false)
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })
})

function startWarehouse(...flags: string[]) {
  const warehouse = spawn(process.execPath, [start, ...flags], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<number | null>((resolve) => warehouse.once('close', resolve))
  let said = ''
  for (const stream of [warehouse.stdout, warehouse.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  return {
    said: () => said,
    says: (pattern: RegExp) => expect.poll(() => said, { timeout: 60_000 }).toMatch(pattern),
    interrupt() {
      warehouse.kill('SIGINT')
      return ended
    },
  }
}

/** The request of a printed `curl -s URL -d 'BODY'`. */
function curl(step: string): () => Promise<Response> {
  const [, url = '', body] = /curl -s (\S+)(?: -d '(.*)')?$/.exec(step) ?? []
  return () => fetch(url, body === undefined ? {} : { method: 'POST', body })
}

/** Runs a printed `node bin/celeriac.js …`; gives its output. */
function command(step: string): () => Promise<string> {
  const [, ...args] = step.trim().split(' ')
  return async () => (await promisify(execFile)(process.execPath, args, { cwd: root })).stdout
}
