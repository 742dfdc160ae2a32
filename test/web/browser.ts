/** A real browser on a real monitor of a real fleet. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Browser, type BrowserContext, chromium as launcher, type Page } from 'playwright-core'
import { afterAll, afterEach, expect } from 'vitest'
// Its hook is added before ours: pages are left before their monitor is closed.
import '../monitor/fixture.ts'
import { chromium } from '../servers/index.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

let browser: Promise<Browser> | undefined
const contexts: BrowserContext[] = []
/** What pages complained of, or asked of others. */
const problems = new Set<string>()
afterEach(async () => {
  for (const context of contexts.splice(0)) await context.close()
  const told = [...problems]
  problems.clear()
  expect(told, 'problems in the browser').toEqual([])
})
afterAll(async () => (await browser)?.close())

export interface Look {
  readonly scheme?: 'light' | 'dark'
  readonly width?: number
}

export async function openPage({ scheme = 'light', width = 1280 }: Look = {}): Promise<Page> {
  // Without a sandbox, since it may be root's; it sees pages of ours alone.
  browser ??= launcher.launch({ executablePath: chromium() ?? '', args: ['--no-sandbox'] })
  const context = await (await browser).newContext({ viewport: { width, height: 800 }, colorScheme: scheme })
  contexts.push(context)
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  page.on('pageerror', (error) => problems.add(error.message))
  page.on('console', (message) => {
    if (message.type() === 'error') problems.add(message.text())
  })
  page.on('request', (request) => {
    const { hostname, protocol } = new URL(request.url())
    if (protocol !== 'data:' && hostname !== '127.0.0.1') problems.add(`asked ${request.url()}`)
  })
  return page
}

/** Complaints that belong to what a test does. */
export function expectedProblems(pattern: RegExp): void {
  for (const problem of problems) if (pattern.test(problem)) problems.delete(problem)
}

/** What axe finds to be serious or worse, in its words. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  await page.evaluate(axe)
  return page.evaluate(async () => {
    interface Found {
      violations: { id: string; impact: string; nodes: { html: string }[] }[]
    }
    const { axe } = globalThis as unknown as { axe: { run: (root: unknown) => Promise<Found> } }
    const { violations } = await axe.run((globalThis as unknown as { document: unknown }).document)
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)
  })
}

/** Goes there, and waits until it shows. */
export async function see(page: Page, url: string, text: string): Promise<void> {
  await page.goto(url)
  await page.getByText(text).first().waitFor()
}

export const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })

/** Goes on in the dialog that asks. */
export async function confirm(page: Page, verb: string): Promise<void> {
  await page.getByRole('dialog').getByRole('button', { name: verb, exact: true }).click()
}
