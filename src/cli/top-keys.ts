/** What the keys of `celeriac top` do: from one view to the next, and to a command. */
import { keysOf, type Pane, panes, selectedLine, type TopCommand, type TopSnapshot, type TopView } from './top-view.ts'

/** A key as `node:readline` names it. */
export interface Key {
  readonly name?: string | undefined
  readonly ctrl?: boolean | undefined
  readonly shift?: boolean | undefined
}

/** How far the keys for pages go. */
const pageLines = 10

export interface Pressed {
  readonly view: TopView
  readonly command?: TopCommand
}

export function press(view: TopView, snapshot: TopSnapshot, key: Key): Pressed {
  if (key.ctrl && (key.name === 'c' || key.name === 'd')) return { view, command: { do: 'quit' } }
  const { message: _read, question, ...rest } = view
  if (question !== undefined) {
    if (key.name === 'y') return { view: rest, command: question.command }
    return { view: { ...rest, message: { text: 'nothing was done', isError: false } } }
  }
  switch (key.name) {
    case 'q':
      return { view: rest, command: { do: 'quit' } }
    case 'tab':
      return { view: { ...rest, pane: nextPane(view.pane, key.shift === true ? -1 : 1) } }
    case 'up':
    case 'k':
      return { view: moved(rest, snapshot, -1) }
    case 'down':
    case 'j':
      return { view: moved(rest, snapshot, 1) }
    case 'pageup':
      return { view: moved(rest, snapshot, -pageLines) }
    case 'pagedown':
      return { view: moved(rest, snapshot, pageLines) }
    case 'home':
      return { view: moved(rest, snapshot, Number.NEGATIVE_INFINITY) }
    case 'end':
      return { view: moved(rest, snapshot, Number.POSITIVE_INFINITY) }
    case 'p':
      return { view: { ...rest, isPaused: !view.isPaused } }
    case 'e':
      return { view: rest, command: { do: 'enable events' } }
    case 'r':
      return { view: asking(rest, snapshot, 'revoke') }
    case 't':
      return { view: asking(rest, snapshot, 'terminate') }
    default:
      return { view }
  }
}

function nextPane(pane: Pane, step: number): Pane {
  return panes[(panes.indexOf(pane) + step + panes.length) % panes.length] ?? pane
}

function moved(view: TopView, snapshot: TopSnapshot, lines: number): TopView {
  const keys = keysOf(snapshot, view.pane)
  const line = Math.min(keys.length - 1, Math.max(0, selectedLine(snapshot, view, view.pane) + lines))
  const key = keys[line]
  return key === undefined ? view : { ...view, selected: { ...view.selected, [view.pane]: key } }
}

/** The question stands for its task, whatever moves below it until it is answered. */
function asking(view: TopView, snapshot: TopSnapshot, verb: 'revoke' | 'terminate'): TopView {
  const task = snapshot.tasks[selectedLine(snapshot, view, 'tasks')]
  if (task === undefined) return { ...view, message: { text: 'no task is selected', isError: true } }
  const { name, uuid, state } = task
  const text = `${verb} ${name ?? 'the task'} ${uuid} (${state})? y/n`
  return { ...view, pane: 'tasks', question: { text, command: { do: verb, id: uuid } } }
}
