/** Where alerts go: webhooks, those of Slack and what speaks like it, and mail. */
import { createHmac } from 'node:crypto'
import type { z } from 'zod'
import { CeleriacError } from '../../errors.ts'
import { redacted } from '../../redacted.ts'
import type { AlertChannel, NewAlertChannel } from '../api/shapes.ts'

export type Channel = z.infer<typeof NewAlertChannel> & {
  readonly id: string
  readonly lastSentAt: number | null
  readonly lastError: string | null
}

/** What is told. */
export interface Notice {
  readonly rule: string
  readonly kind: string
  /** A line for each. */
  readonly firing: readonly string[]
  readonly resolved: readonly string[]
  /** Epoch ms. */
  readonly at: number
}

const timeoutMs = 10_000
/** Lines of one message; the rest is counted. */
const mostLines = 20

/** @throws CeleriacError `BROKER_UNAVAILABLE` where it was not taken */
export async function send(channel: Channel, notice: Notice): Promise<void> {
  try {
    if (channel.kind === 'email') await mail(channel, notice)
    else if (channel.kind === 'slack') await post(channel.url, slackOf(notice), null)
    else await post(channel.url, { ...notice, text: textOf(notice) }, channel.secret)
  } catch (error) {
    const why = error instanceof Error ? [error.message, (error.cause as Error | undefined)?.message] : [String(error)]
    const text = why.filter((part) => part !== undefined && part !== '').join(': ')
    throw new CeleriacError('BROKER_UNAVAILABLE', `the channel '${channel.name}' did not take it: ${text}`, {
      cause: error,
    })
  }
}

/** The channel without its secrets. */
export function channelView(channel: Channel): z.infer<typeof AlertChannel> {
  const { id, name, kind, lastSentAt, lastError } = channel
  const isMail = channel.kind === 'email'
  return {
    ...{ id, name, kind, lastSentAt, lastError },
    // Those of Slack are secrets themselves.
    url: isMail ? redacted(channel.url) : `${new URL(channel.url).origin}/…`,
    isSigned: channel.kind === 'webhook' && channel.secret !== null,
    from: isMail ? channel.from : null,
    to: isMail ? [...channel.to] : [],
  }
}

async function post(url: string, body: unknown, secret: string | null): Promise<void> {
  const text = JSON.stringify(body)
  const signature = secret === null ? undefined : createHmac('sha256', secret).update(text).digest('hex')
  const response = await fetch(url, {
    method: 'POST',
    body: text,
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
    headers: {
      'Content-Type': 'application/json',
      ...(signature !== undefined && { 'X-Celeriac-Signature': signature }),
    },
  })
  await response.body?.cancel()
  if (!response.ok) throw new Error(`it answered ${response.status}`)
}

async function mail({ url, from, to }: Channel & { readonly kind: 'email' }, notice: Notice): Promise<void> {
  const { createTransport } = await import('nodemailer')
  const transport = createTransport({
    url,
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
  })
  try {
    await transport.sendMail({ from, to: [...to], subject: subjectOf(notice), text: textOf(notice) })
  } finally {
    transport.close()
  }
}

function subjectOf({ rule, firing, resolved }: Notice): string {
  const what = firing.length > 0 ? `${firing.length} firing` : `${resolved.length} resolved`
  return `[celeriac] ${rule}: ${what}`
}

/** Also in `text`, for what shows no blocks. */
function slackOf(notice: Notice): unknown {
  const section = (text: string) => ({ type: 'section', text: { type: 'mrkdwn', text: text.slice(0, 2_900) } })
  const lines = (title: string, list: readonly string[]) =>
    list.length === 0 ? [] : [section(`*${title}*\n${cut(list)}`)]
  return {
    text: subjectOf(notice),
    blocks: [section(`*${notice.rule}*`), ...lines('Firing', notice.firing), ...lines('Resolved', notice.resolved)],
  }
}

function textOf({ rule, firing, resolved }: Notice): string {
  const part = (title: string, list: readonly string[]): string =>
    list.length === 0 ? '' : `\n${title}:\n${cut(list)}\n`
  return `${rule}\n${part('Firing', firing)}${part('Resolved', resolved)}`
}

function cut(lines: readonly string[]): string {
  const more = lines.length - mostLines
  return [...lines.slice(0, mostLines), ...(more > 0 ? [`and ${more} more`] : [])].join('\n')
}
