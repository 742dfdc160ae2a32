/** The screen of `celeriac top`, as lines: nothing in here knows of a terminal. */
import type { QueueInfo } from '../broker/broker.ts'
import { shortTime } from '../duration.ts'
import type { FleetTask } from '../events/fleet-task.ts'
import type { FleetWorker } from '../events/fleet-worker.ts'
import { localTime } from './output.ts'
import { queueRemark } from './queue.ts'
import type { Colour, Paint } from './terminal.ts'
import { clip, pad, visible, widthOf } from './text-width.ts'
import { type Pane, selectedLine, type TopSnapshot, type TopView } from './top-view.ts'
import { colourOf } from './tree.ts'

/** Room on the terminal. With infinitely many rows everything is shown. */
export interface Size {
  readonly columns: number
  readonly rows: number
}

interface Column<Row> {
  readonly title: string
  readonly of: (row: Row, nowMs: number) => string
  readonly align?: 'right'
  readonly colour?: (row: Row) => Colour | undefined
  /** May be cut to so many columns; otherwise it has what it needs. */
  readonly least?: number
  /** Not cut further than this while another one can be. @default least */
  readonly enough?: number
  /** Left out when there is no room; the highest first. */
  readonly spare?: number
}

const keys = 'q quit  ↑↓ select  tab pane  p pause  e enable events  r revoke  t terminate'
const gap = 2
/** Stands before each line: the selected one is marked also where there are no colours. */
const markWidth = 2
/** With fewer rows than this only the pane with the focus is shown. */
const leastRows = 14

const workerColumns: readonly Column<FleetWorker>[] = [
  { title: 'WORKER', of: ({ hostname }) => hostname, least: 12, enough: 30 },
  {
    title: 'STATUS',
    of: ({ isAlive }) => (isAlive ? 'online' : 'offline'),
    colour: ({ isAlive }) => (isAlive ? 'green' : 'red'),
  },
  { title: 'ACTIVE', of: ({ active }) => count(active), align: 'right' },
  { title: 'DONE', of: ({ processed }) => count(processed), align: 'right', spare: 2 },
  {
    title: 'FAILED',
    of: ({ counts }) => count(counts.failed),
    align: 'right',
    colour: redIf(({ counts }) => counts.failed),
  },
  { title: 'RETRIED', of: ({ counts }) => count(counts.retried), align: 'right', spare: 3 },
  { title: 'LOAD', of: ({ loadavg }) => loadavg[0]?.toFixed(2) ?? '-', align: 'right', spare: 4 },
  { title: 'HEARD', of: ({ heardAt }, nowMs) => ago(heardAt, nowMs), align: 'right', spare: 6 },
  { title: 'SOFTWARE', of: ({ software }) => software ?? '', least: 8, spare: 5 },
]

const queueColumns: readonly Column<QueueInfo>[] = [
  { title: 'QUEUE', of: ({ queue }) => queue, least: 12, enough: 30 },
  { title: 'READY', of: ({ ready }) => count(ready), align: 'right' },
  { title: 'DELAYED', of: ({ delayed }) => count(delayed), align: 'right', spare: 4 },
  { title: 'RUNNING', of: ({ inFlight }) => count(inFlight), align: 'right', spare: 3 },
  { title: 'WORKERS', of: ({ consumers }) => count(consumers), align: 'right', spare: 2 },
  { title: 'OLDEST', of: ({ oldestMs }) => (oldestMs === null ? '-' : seconds(oldestMs)), align: 'right', spare: 5 },
  { title: '', of: queueRemark, colour: ({ paused }) => (paused ? 'yellow' : 'dim'), spare: 6 },
]

const taskColumns: readonly Column<FleetTask>[] = [
  { title: 'TASK', of: ({ name }) => name ?? '?', least: 12, enough: 24 },
  { title: 'ID', of: ({ uuid }) => uuid, least: 8, enough: 36, spare: 2 },
  { title: 'STATE', of: ({ state }) => state, colour: ({ state }) => colourOf(state), least: 8 },
  { title: 'TIME', of: taskTime, align: 'right', spare: 1 },
  { title: 'WORKER', of: ({ worker }) => worker ?? '-', least: 8, enough: 16, spare: 4 },
  {
    title: 'WHAT',
    of: taskSays,
    colour: ({ exception }) => (exception === null ? undefined : 'red'),
    least: 8,
    enough: 20,
    spare: 3,
  },
]

/** At most `rows` lines, none wider than `columns`; with finite rows exactly so many. */
export function frame(snapshot: TopSnapshot, view: TopView, { columns, rows }: Size, paint: Paint): string[] {
  const isEndless = !Number.isFinite(rows)
  const top = headerLines(snapshot, view, columns, paint)
  const bottom = isEndless ? [] : bottomLines(view, columns, paint)
  const room = rows - top.length - bottom.length
  const shown: readonly Pane[] = rows < leastRows ? [view.pane] : ['workers', 'queues', 'tasks']
  const blanks = rows >= 20 ? shown.length : 0
  const share = shares(snapshot, shown, room - blanks - shown.length)
  const middle = shown.flatMap((pane) => [
    ...(blanks > 0 ? [''] : []),
    ...paneLines(pane, snapshot, view, { columns, rows: share[pane] ?? 0 }, !isEndless && view.pane === pane, paint),
  ])
  if (isEndless) return [...top, ...middle]
  const filled = middle.slice(0, Math.max(0, room))
  while (filled.length < room) filled.push('')
  return [...top, ...filled, ...bottom].slice(0, rows)
}

function headerLines(
  { at, broker, workers, queues, totals, rates }: TopSnapshot,
  view: TopView,
  columns: number,
  paint: Paint,
): string[] {
  const time = `${view.isPaused ? 'paused ' : ''}${localTime(at).slice(11, 19)}`
  const title = pad(`celeriac top  ${visible(broker)}`, Math.max(0, columns - time.length - 1))
  const alive = workers.filter(({ isAlive }) => isAlive)
  const active = alive.reduce((sum, worker) => sum + (worker.active ?? 0), 0)
  const ready = queues.reduce((sum, queue) => sum + queue.ready, 0)
  const counts = [
    `workers ${alive.length} of ${workers.length}`,
    `running ${count(active)}`,
    `ready ${count(ready)}`,
  ].join('   ')
  const flow = (['received', 'succeeded', 'failed', 'retried'] as const)
    .map((name) => `${name} ${count(totals[name])} (${rate(rates[name])}/s)`)
    .join('  ')
  return [
    `${paint('bold', title)}${clip(` ${time}`, Math.max(0, columns - widthOf(title)))}`,
    clip(counts, columns),
    clip(flow, columns),
  ]
}

function bottomLines({ question, message }: TopView, columns: number, paint: Paint): string[] {
  const said = clip(visible(question?.text ?? message?.text ?? ''), columns)
  const colour: Colour = question !== undefined ? 'yellow' : message?.isError === true ? 'red' : 'green'
  return [said === '' ? '' : paint(colour, said), paint('dim', clip(keys, columns))]
}

/** How many lines each pane has below its titles: what it needs, where there is room; the tasks take what is left. */
function shares(snapshot: TopSnapshot, shown: readonly Pane[], room: number): Partial<Record<Pane, number>> {
  const wanted = (pane: Pane): number => Math.max(1, snapshot[pane].length)
  const [only] = shown
  if (shown.length === 1 && only !== undefined) return { [only]: Math.max(0, room) }
  if (!Number.isFinite(room)) return { workers: wanted('workers'), queues: wanted('queues'), tasks: wanted('tasks') }
  const third = Math.max(1, Math.floor(room * 0.3))
  const least = { workers: Math.min(wanted('workers'), third), queues: Math.min(wanted('queues'), third) }
  const tasks = Math.min(wanted('tasks'), room - least.workers - least.queues)
  let left = room - least.workers - least.queues - tasks
  const workers = Math.min(wanted('workers'), least.workers + left)
  left -= workers - least.workers
  const queues = Math.min(wanted('queues'), least.queues + left)
  return { workers, queues, tasks: room - workers - queues }
}

function paneLines(
  pane: Pane,
  snapshot: TopSnapshot,
  view: TopView,
  size: Size,
  isFocused: boolean,
  paint: Paint,
): string[] {
  const selected = isFocused ? selectedLine(snapshot, view, pane) : -1
  const look = { ...size, paint, nowMs: snapshot.at, isFocused, selected }
  switch (pane) {
    case 'workers':
      return tableLines(snapshot.workers, workerColumns, 'no worker was heard of yet', look)
    case 'queues':
      return tableLines(snapshot.queues, queueColumns, 'there are no queues yet', look)
    case 'tasks':
      return tableLines(
        snapshot.tasks,
        taskColumns,
        'no task was heard of yet; e asks the workers to report them',
        look,
      )
  }
}

interface Look extends Size {
  readonly paint: Paint
  readonly nowMs: number
  readonly isFocused: boolean
  /** Line of the table, -1 for none. */
  readonly selected: number
}

/** A line of titles, then as many rows as there is room for: those around the selected one. */
function tableLines<Row>(rows: readonly Row[], columns: readonly Column<Row>[], empty: string, look: Look): string[] {
  const { paint, nowMs, isFocused, selected } = look
  const first = Math.max(0, selected - look.rows + 1)
  const shown = rows.slice(first, first + look.rows)
  const cells = shown.map((row) => columns.map((column) => visible(column.of(row, nowMs))))
  const widths = columnWidths(columns, cells, look.columns - markWidth)
  const line = (texts: readonly string[], decorate: (text: string, at: number) => string): string =>
    widths
      .flatMap((width, at) => (width === 0 ? [] : [decorate(pad(texts[at] ?? '', width, columns[at]?.align), at)]))
      .join(' '.repeat(gap))
  const titles = columns.map(({ title }, at) => (at === 0 ? `${title} (${rows.length})` : title))
  const head = clip(`${' '.repeat(markWidth)}${line(titles, (text) => text)}`, look.columns)
  const lines = [paint(isFocused ? 'bold' : 'dim', head.trimEnd())]
  if (rows.length === 0 && look.rows > 0)
    lines.push(paint('dim', clip(`${' '.repeat(markWidth)}${empty}`, look.columns)))
  for (const [index, row] of shown.entries()) {
    const texts = cells[index] ?? []
    const isSelected = first + index === selected
    if (isSelected) {
      lines.push(paint('inverse', pad(`> ${line(texts, (text) => text)}`, look.columns)))
    } else {
      const painted = line(texts, (text, at) => paintCell(text, columns[at]?.colour?.(row), paint))
      lines.push(`${' '.repeat(markWidth)}${painted}`.trimEnd())
    }
  }
  return lines.slice(0, look.rows + 1)
}

function paintCell(text: string, colour: Colour | undefined, paint: Paint): string {
  return colour === undefined || text.trim() === '' ? text : paint(colour, text)
}

/** As wide as their content; then cut, then left out (0), until all fit. The last one shown has what is left. */
function columnWidths<Row>(
  columns: readonly Column<Row>[],
  cells: readonly (readonly string[])[],
  room: number,
): number[] {
  const titleWidth = (at: number): number => (columns[at]?.title.length ?? 0) + (at === 0 ? 4 : 0)
  const widths = columns.map((_column, at) =>
    Math.max(1, titleWidth(at), ...cells.map((texts) => widthOf(texts[at] ?? ''))),
  )
  const excess = (): number => {
    const shown = widths.filter((width) => width > 0)
    return shown.reduce((sum, width) => sum + width, 0) + gap * (shown.length - 1) - room
  }
  for (;;) {
    if (excess() <= 0) return widths
    shrink(widths, excess(), (at) => columns[at]?.enough ?? columns[at]?.least)
    shrink(widths, excess(), (at) => columns[at]?.least)
    if (excess() <= 0) return widths
    const spare = columns
      .map((column, at) => ({ at, spare: (widths[at] ?? 0) > 0 ? (column.spare ?? 0) : 0 }))
      .reduce((most, one) => (one.spare > most.spare ? one : most))
    if (spare.spare === 0) return lastResort(widths, room)
    widths[spare.at] = 0
  }
}

/** Takes what is too much from the columns that may be cut, the widest first. */
function shrink(widths: number[], tooMuch: number, least: (at: number) => number | undefined): void {
  for (let left = tooMuch; left > 0; left--) {
    let widest = -1
    for (const [at, width] of widths.entries()) {
      if (width > (least(at) ?? width) && width > (widths[widest] ?? 0)) widest = at
    }
    if (widest === -1) return
    widths[widest] = (widths[widest] ?? 0) - 1
  }
}

/** Not even what cannot be spared has room: from the left, as much as there is. */
function lastResort(widths: readonly number[], room: number): number[] {
  let left = room
  return widths.map((width) => {
    if (width === 0 || left <= 0) return 0
    const given = Math.min(width, left)
    left -= given + gap
    return given
  })
}

/** How long it ran, or runs, or waits. */
function taskTime({ state, runtimeMs, startedAt, receivedAt, endedAt }: FleetTask, nowMs: number): string {
  if (runtimeMs !== null) return shortTime(runtimeMs)
  if (endedAt !== null) return startedAt === null ? '-' : shortTime(Math.max(0, endedAt - startedAt))
  const since = state === 'RECEIVED' ? receivedAt : startedAt
  return since === null ? '-' : seconds(nowMs - since)
}

/** What it came to, else what it was given. */
function taskSays({ state, exception, result, args, kwargs }: FleetTask): string {
  if (exception !== null) return exception
  if (state === 'SUCCESS' && result !== null) return `→ ${result}`
  return [args, kwargs].filter((text) => text !== null && text !== '()' && text !== '{}' && text !== '[]').join(' ')
}

function redIf<Row>(of: (row: Row) => number): (row: Row) => Colour | undefined {
  return (row) => (of(row) > 0 ? 'red' : undefined)
}

function ago(epochMs: number | null, nowMs: number): string {
  return epochMs === null ? '-' : seconds(nowMs - epochMs)
}

/** Times that grow while one looks are told in seconds. */
function seconds(ms: number): string {
  return ms < 1_000 ? '0 s' : shortTime(Math.floor(ms / 1_000) * 1_000)
}

function count(value: number | null): string {
  if (value === null) return '-'
  return value < 100_000
    ? String(value)
    : value < 10_000_000
      ? `${Math.floor(value / 1_000)}k`
      : `${Math.floor(value / 1_000_000)}M`
}

function rate(perSecond: number): string {
  return perSecond >= 100 ? count(Math.round(perSecond)) : String(Number(perSecond.toFixed(1)))
}
