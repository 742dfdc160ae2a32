/** `celeriac top`: workers, queues and tasks of a fleet, live. */
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import type { QueueInfo } from '../broker/broker.ts'
import { isErrorReply, isOkReply, type Replies, type RequestInfo } from '../control/replies.ts'
import { receiveEvents } from '../events/receiver.ts'
import { FleetState } from '../events/state.ts'
import { redacted } from '../redacted.ts'
import { markerQueue } from '../send/migration-ledger.ts'
import { withApp } from './connection.ts'
import { messageOf } from './failure.ts'
import { addFleetFlags, addressing, type FleetFlags } from './fleet-flags.ts'
import { plural, print, printJson } from './output.ts'
import { Screen } from './screen.ts'
import { onSignals } from './signals.ts'
import { painter } from './terminal.ts'
import { frame } from './top-frame.ts'
import { press } from './top-keys.ts'
import { firstView, type TopCommand, type TopSnapshot, type TopView } from './top-view.ts'

interface TopFlags extends FleetFlags {
  readonly once?: true
}

const redrawMs = 500
/** Counting what waits costs the broker something. */
const queuesMs = 2_000
/** More than a screen shows; what was heard of before is reached by no key. */
const shownTasks = 200
/** Of a snapshot that no terminal shows. */
const printed = { columns: 120, tasks: 30 }

export function addTopCommand(program: Command): void {
  const command = program
    .command('top')
    .summary('watch workers, queues and tasks live')
    .description('Shows workers, queues and recent tasks, live; its bottom line names the keys.')
  addFleetFlags(command)
    .option('--once', 'print it once and end, as it does where stdout is no terminal')
    .option('--json', 'the same as one JSON object')
    .addHelpText(
      'after',
      `
Tasks are shown from when it starts, and where events are enabled: press e, or run
\`celeriac control enable_events\`. -d and -t are for what it asks and tells workers.

Examples:
  celeriac top -A app.ts
  celeriac top -b redis://localhost --once`,
    )
    .action((flags: TopFlags) =>
      withApp(flags, 'existing', async (app) => {
        const fleet = new Fleet(app, flags)
        const isLive = process.stdout.isTTY && process.stdin.isTTY && !flags.once && !flags.json
        await (isLive ? watch(fleet) : showOnce(fleet, flags))
      }),
    )
}

/** What is known of the fleet, and what it can be told. */
class Fleet {
  readonly #app: Celeriac
  readonly #flags: TopFlags
  readonly #state = new FleetState()
  #queues: readonly QueueInfo[] = []

  constructor(app: Celeriac, flags: TopFlags) {
    this.#app = app
    this.#flags = flags
  }

  /** Listens; has the workers say at once that they are there, and asks what they run. */
  async listen(): Promise<void> {
    await receiveEvents(await this.#app.bus(), (event) => this.#state.apply(event))
    await this.#app.control.heartbeat()
  }

  async askWhatRuns(): Promise<void> {
    const replies = await this.#app.control.inspect(addressing(this.#flags)).active({ safe: true })
    for (const [hostname, reply] of Object.entries(replies)) {
      if (Array.isArray(reply)) for (const info of reply as RequestInfo[]) this.#learn(hostname, info)
    }
  }

  async countQueues(): Promise<void> {
    const queues = await this.#app.broker.queues()
    this.#queues = queues.filter(({ queue, ready }) => queue !== markerQueue || ready > 0)
  }

  snapshot(): TopSnapshot {
    return {
      at: Date.now(),
      broker: redacted(this.#app.config.broker),
      workers: this.#state.workers(),
      queues: this.#queues,
      tasks: this.#state.tasks(shownTasks),
      totals: this.#state.totals,
      rates: this.#state.rates,
    }
  }

  /** @returns what the workers said, in a line */
  async tell(command: Exclude<TopCommand, { do: 'quit' }>): Promise<NonNullable<TopView['message']>> {
    const options = { ...addressing(this.#flags), reply: true }
    const { control } = this.#app
    switch (command.do) {
      case 'enable events':
        return summary(await control.enableEvents(options))
      case 'revoke':
        return summary(await control.revoke(command.id, options))
      case 'terminate':
        return summary(await control.terminate(command.id, options))
    }
  }

  /** Anybody may answer: what has no id tells nothing. */
  #learn(hostname: string, info: Partial<RequestInfo> | null): void {
    if (typeof info !== 'object' || info === null || typeof info.id !== 'string') return
    const { id: uuid, name, args, kwargs, time_start } = info
    const timestamp = typeof time_start === 'number' ? { timestamp: time_start } : {}
    this.#state.learn({ type: 'task-started', uuid, hostname, name, args, kwargs, ...timestamp })
  }
}

/** `2 workers: task events enabled`, or what each said where they disagree. */
export function summary(replies: Replies<unknown>): { readonly text: string; readonly isError: boolean } {
  const said = Object.entries(replies).map(([node, reply]) => {
    const text = isErrorReply(reply) ? reply.error : isOkReply(reply) ? reply.ok : JSON.stringify(reply)
    return { node, text }
  })
  const isError = said.length === 0 || Object.values(replies).some(isErrorReply)
  const [first] = said
  if (first === undefined) return { text: 'no worker answered', isError }
  const text = said.every((one) => one.text === first.text)
    ? `${plural(said.length, 'worker')}: ${first.text}`
    : said.map((one) => `${one.node}: ${one.text}`).join('; ')
  return { text, isError }
}

async function showOnce(fleet: Fleet, flags: TopFlags): Promise<void> {
  await fleet.listen()
  await Promise.all([fleet.askWhatRuns(), fleet.countQueues()])
  const snapshot = fleet.snapshot()
  if (flags.json) return printJson(snapshot)
  const columns = process.stdout.isTTY ? process.stdout.columns || printed.columns : printed.columns
  const size = { columns, rows: Number.POSITIVE_INFINITY }
  const shown = { ...snapshot, tasks: snapshot.tasks.slice(0, printed.tasks) }
  print(frame(shown, firstView, size, painter(process.stdout)).join('\n'))
}

/** Draws until q, Ctrl-C or a signal. What fails in between is said on the screen, and tried again. */
async function watch(fleet: Fleet): Promise<void> {
  const paint = painter(process.stdout)
  let view: TopView = firstView
  let snapshot = fleet.snapshot()
  let end: () => void = () => undefined
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const draw = (): void => screen.draw(frame(snapshot, view, screen.size, paint))
  const say = (message: NonNullable<TopView['message']>): void => {
    view = { ...view, message }
    draw()
  }
  const attempt = (work: Promise<unknown>): Promise<unknown> =>
    work.catch((error: unknown) => say({ text: messageOf(error), isError: true }))
  const obey = (command: TopCommand): unknown => {
    if (command.do === 'quit') return end()
    say({ text: `${command.do} …`, isError: false })
    return attempt(fleet.tell(command).then(say))
  }
  const screen = new Screen(process.stdin, process.stdout, {
    onKey: (key) => {
      const pressed = press(view, snapshot, key)
      view = pressed.view
      draw()
      if (pressed.command !== undefined) obey(pressed.command)
    },
    onResize: draw,
  })
  onSignals({ stages: [end] })
  let isCounting = false
  const countQueues = async (): Promise<void> => {
    if (isCounting) return
    isCounting = true
    await attempt(fleet.countQueues())
    isCounting = false
  }
  const refresh = (): void => {
    if (!view.isPaused) snapshot = fleet.snapshot()
    draw()
  }
  await fleet.listen()
  screen.open()
  const timers = [setInterval(refresh, redrawMs), setInterval(countQueues, queuesMs)]
  try {
    refresh()
    // Not waited for: somebody may want to leave before the broker and the workers have answered.
    void countQueues().then(refresh)
    void attempt(fleet.askWhatRuns())
    await ended
  } finally {
    for (const timer of timers) clearInterval(timer)
    screen.close()
  }
}
