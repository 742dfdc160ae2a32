/** What workers answered, as Celery's commands show it. */
import { isErrorReply, isOkReply, type Replies } from '../control/replies.ts'
import { exitCodes } from './failure.ts'
import { type FleetFlags, tellSilence } from './fleet-flags.ts'
import { jsonOf, plural, print, printJson } from './output.ts'
import { type Paint, painter } from './terminal.ts'
import { visible, visibleLines } from './text-width.ts'

/** Prints the replies; the command fails where somebody was silent or refused. `withBody` also says what was answered. */
export function showReplies(replies: Replies<unknown>, flags: FleetFlags, withBody: boolean): void {
  const nodes = Object.keys(replies)
  if (flags.json) printJson(replies)
  else for (const [node, reply] of Object.entries(replies)) print(replyText(node, reply, withBody))
  if (Object.values(replies).some(isErrorReply)) process.exitCode = exitCodes.failed
  if (nodes.length > 0 && !flags.json) print(`\n${plural(nodes.length, 'node')} online.`)
  tellSilence(nodes, flags)
}

export function replyText(
  node: string,
  reply: unknown,
  withBody: boolean,
  paint: Paint = painter(process.stdout),
): string {
  const status = isErrorReply(reply) ? paint('red', 'ERROR') : paint('green', 'OK')
  const line = `->  ${paint('cyan', visible(node))}: ${status}`
  return withBody || isErrorReply(reply) ? `${line}\n${bodyText(reply)}` : line
}

function bodyText(reply: unknown): string {
  if (isErrorReply(reply)) return indented(visibleLines(reply.error), 8)
  if (isOkReply(reply)) return indented(visibleLines(reply.ok), 8)
  if (Array.isArray(reply)) {
    if (reply.length === 0) return '    - empty -'
    return reply.map((item) => `    * ${indented(valueText(item), 6).trimStart()}`).join('\n')
  }
  return indented(valueText(reply), 4)
}

function valueText(value: unknown): string {
  // What is written as JSON has its control characters escaped.
  return typeof value === 'string' ? visibleLines(value) : jsonOf(value, 2)
}

function indented(text: string, columns: number): string {
  const room = ' '.repeat(columns)
  return `${room}${text.replaceAll('\n', `\n${room}`)}`
}
