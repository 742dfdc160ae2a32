/** Messages of Python Celery, captured on Redis and RabbitMQ (`test/fixtures/celery/`), as a driver would hand them on. */
import { readdirSync, readFileSync } from 'node:fs'
import type { Message } from 'celeriac'

const folder = new URL('../fixtures/celery/', import.meta.url)

export interface Captured {
  /** File, and number within it where there are several. */
  readonly name: string
  readonly message: Message
  readonly headers: Readonly<Record<string, unknown>>
  readonly isJson: boolean
}

interface RedisFile {
  readonly messages: readonly {
    readonly decoded: {
      readonly body: string
      readonly 'content-type': string
      readonly 'content-encoding': string
      readonly headers: Record<string, unknown>
      readonly properties: { readonly correlation_id?: string; readonly reply_to?: string; readonly priority?: number }
    }
  }[]
}

interface AmqpFile {
  readonly messages: readonly {
    readonly properties: {
      readonly headers?: Record<string, unknown>
      readonly content_type: string
      readonly content_encoding: string
      readonly correlation_id?: string
      readonly reply_to?: string
      readonly priority?: number
    }
    readonly body_utf8?: string
    readonly body_hex?: string
  }[]
}

/** Every captured task message; of one file, where its name is given. */
export function captured(file?: string): Captured[] {
  const files = readdirSync(folder).filter((name) => file === undefined || name === `${file}.json`)
  return files.flatMap((name) => {
    const content = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as RedisFile & AmqpFile
    const messages = name.startsWith('task-redis') ? fromRedis(content) : fromAmqp(content)
    return messages.map((message, index) => ({
      name: `${name.slice(0, -'.json'.length)}${messages.length > 1 ? ` ${index}` : ''}`,
      message,
      headers: message.headers,
      isJson: message.properties.contentType === 'application/json' && message.headers.compression === undefined,
    }))
  })
}

/** The one task message of a file. */
export function capturedOne(file: string): Message {
  const [first] = captured(file)
  if (first === undefined) throw new Error(`no task message in ${file}`)
  return first.message
}

function fromRedis({ messages }: RedisFile): Message[] {
  return messages.map(({ decoded }) => {
    const bytes = Buffer.from(decoded.body, 'base64')
    return {
      headers: decoded.headers,
      properties: {
        contentType: decoded['content-type'],
        contentEncoding: decoded['content-encoding'],
        correlationId: decoded.properties.correlation_id ?? '',
        replyTo: decoded.properties.reply_to ?? '',
        priority: decoded.properties.priority ?? 0,
      },
      body: decoded['content-encoding'] === 'utf-8' && !decoded.headers.compression ? bytes.toString() : bytes,
    }
  })
}

function fromAmqp({ messages }: AmqpFile): Message[] {
  const tasks = messages.filter(({ properties }) => properties.headers?.task !== undefined)
  return tasks.map(({ properties, body_utf8: text, body_hex: hex }) => ({
    headers: properties.headers ?? {},
    properties: {
      contentType: properties.content_type,
      contentEncoding: properties.content_encoding,
      correlationId: properties.correlation_id ?? '',
      replyTo: properties.reply_to ?? '',
      priority: properties.priority ?? 0,
    },
    body: text ?? Buffer.from(hex ?? '', 'hex'),
  }))
}
