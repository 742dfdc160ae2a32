/** What `celeriac top` shows: the data of one moment, and where the person at the keys is in it. Plain data. */
import type { QueueInfo } from '../broker/broker.ts'
import type { FleetTask } from '../events/fleet-task.ts'
import type { FleetWorker, TaskCounts } from '../events/fleet-worker.ts'

/** The fleet at one moment. */
export interface TopSnapshot {
  /** Epoch ms. */
  readonly at: number
  /** URL without its password. */
  readonly broker: string
  readonly workers: readonly FleetWorker[]
  readonly queues: readonly QueueInfo[]
  /** The one heard of last comes first. */
  readonly tasks: readonly FleetTask[]
  /** Since we listen. */
  readonly totals: TaskCounts
  /** Per second. */
  readonly rates: TaskCounts
}

export const panes = ['workers', 'queues', 'tasks'] as const
export type Pane = (typeof panes)[number]

/** What a key asks to be done. */
export type TopCommand =
  | { readonly do: 'quit' }
  | { readonly do: 'enable events' }
  | { readonly do: 'revoke' | 'terminate'; readonly id: string }

export interface TopView {
  readonly pane: Pane
  /** What is selected in each pane, by node name, queue or id; the first line where nothing is. */
  readonly selected: Readonly<Partial<Record<Pane, string>>>
  readonly isPaused: boolean
  /** Waits for y or n. */
  readonly question?: { readonly text: string; readonly command: TopCommand }
  readonly message?: { readonly text: string; readonly isError: boolean }
}

export const firstView: TopView = { pane: 'tasks', selected: {}, isPaused: false }

/** By what the lines of a pane are told apart. */
export function keysOf(snapshot: TopSnapshot, pane: Pane): readonly string[] {
  switch (pane) {
    case 'workers':
      return snapshot.workers.map(({ hostname }) => hostname)
    case 'queues':
      return snapshot.queues.map(({ queue }) => queue)
    case 'tasks':
      return snapshot.tasks.map(({ uuid }) => uuid)
  }
}

/** The line that is selected; -1 where the pane is empty. Lines move: it stays with its worker, queue or task. */
export function selectedLine(snapshot: TopSnapshot, view: TopView, pane: Pane): number {
  const keys = keysOf(snapshot, pane)
  const selected = view.selected[pane]
  return keys.length === 0 ? -1 : Math.max(0, selected === undefined ? 0 : keys.indexOf(selected))
}
