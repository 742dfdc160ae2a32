/** A pipeline drawn in the terminal: a line for each task, under the one that sent it. */

import { shortTime } from '../duration.ts'
import type { ResultNode } from '../result/tree.ts'
import { cut } from './output.ts'
import type { Colour, Paint } from './terminal.ts'

export interface DrawOptions {
  readonly paint: Paint
  readonly width: number
  /** This task is marked: the one that was asked for. */
  readonly marked: string
}

interface Line {
  readonly branch: string
  /** What stands before further lines about the same task. */
  readonly below: string
  readonly node: ResultNode
}

const stateColours: Record<string, Colour> = {
  SUCCESS: 'green',
  FAILURE: 'red',
  REVOKED: 'red',
  RETRY: 'yellow',
  STARTED: 'cyan',
  PENDING: 'dim',
  UNKNOWN: 'dim',
}

export function colourOf(state: string): Colour {
  return stateColours[state] ?? 'cyan'
}

/**
 *     warehouse.pick           SUCCESS  ran 12 ms
 *     └─ warehouse.pack        SUCCESS  ran 3 ms after 1 ms
 *        └─ warehouse.deliver  FAILURE  ran 1.2 s after 2 ms, 4 attempts  ◀
 *             CourierError: 503
 */
export function drawTree(root: ResultNode, { paint, width, marked }: DrawOptions): string {
  const lines = linesOf(root, '', '')
  const nameWidth = Math.max(...lines.map(({ branch, node }) => branch.length + nameOf(node).length))
  const stateWidth = Math.max(...lines.map(({ node }) => node.state.length))
  return lines
    .flatMap(({ branch, below, node }) => {
      const gap = ' '.repeat(nameWidth - branch.length - nameOf(node).length)
      const state = paint(colourOf(node.state), node.state.padEnd(stateWidth))
      const mark = node.taskId === marked && lines.length > 1 ? `  ${paint('bold', '◀')}` : ''
      const line = `${paint('dim', branch)}${nameOf(node)}${gap}  ${state}  ${timesOf(node)}${mark}`
      const details = [paint('dim', cut(node.taskId, width - below.length - 2))]
      if (node.error !== null) {
        const text = cut(`${node.error.type}: ${node.error.message}`.replace(/\s+/g, ' '), width - below.length - 2)
        details.push(paint(node.state === 'RETRY' ? 'yellow' : 'red', text))
      }
      return [line.trimEnd(), ...details.map((detail) => `${paint('dim', below)}  ${detail}`)]
    })
    .join('\n')
}

function linesOf(node: ResultNode, branch: string, indent: string): Line[] {
  const { children } = node
  const below = children.length > 0 ? `${indent}│` : `${indent} `
  return [
    { branch, below, node },
    ...children.flatMap((child, index) => {
      const isLast = index === children.length - 1
      return linesOf(child, `${indent}${isLast ? '└─ ' : '├─ '}`, `${indent}${isLast ? '   ' : '│  '}`)
    }),
  ]
}

function nameOf({ name }: ResultNode): string {
  return name ?? '(unknown)'
}

/** How long it ran, how long it had waited, how often it was tried. */
function timesOf({ name, sentAt, startedAt, doneAt, attempts, state }: ResultNode): string {
  if (name === 'celery.group') return ''
  const facts: string[] = []
  if (startedAt !== null && doneAt !== null) facts.push(`ran ${shortTime(Math.max(0, doneAt - startedAt))}`)
  else if (state === 'STARTED' && startedAt !== null)
    facts.push(`for ${shortTime(Math.max(0, Date.now() - startedAt))}`)
  else if (state === 'PENDING') facts.push(sentAt === null ? 'not sent yet' : `for ${shortTime(Date.now() - sentAt)}`)
  if (sentAt !== null && startedAt !== null) facts.push(`waited ${shortTime(Math.max(0, startedAt - sentAt))}`)
  if (attempts > 1) facts.push(`${attempts} attempts`)
  return facts.join(', ')
}
