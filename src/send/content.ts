/** The bodies of messages: written by the serializer and the compression of a call, read as far as they are accepted. */
import type { Message } from '../broker/broker.ts'
import { type Compression, compress, inflate, smallestCompressed } from '../compression.ts'
import { CeleriacError } from '../errors.ts'
import { invalidMessage } from './invalid-message.ts'
import { json, pickleType, type Serializer, type Serializers } from './serializer.ts'

/** A body as it stands in a message, and what the message says of it. */
export interface Encoded {
  readonly body: string | Uint8Array
  readonly contentType: string
  readonly contentEncoding: string
  /** For the header `compression`; undefined for a body that goes as it is. */
  readonly compression: string | undefined
}

export class Content {
  readonly #serializers: Serializers
  readonly #accepted: readonly string[]
  /** By content type, for those that have been accepted once. */
  readonly #readers = new Map<string, Serializer>()

  /**
   * `accepted` = names or content types. @throws CeleriacError `CONFIG_INVALID` for a name that no serializer has, and
   * for pickle
   */
  constructor(serializers: Serializers, accepted: readonly string[]) {
    this.#serializers = serializers
    this.#accepted = accepted
    for (const word of accepted) this.#readers.set(serializers.get(word).contentType, serializers.get(word))
  }

  /** @throws CeleriacError `PAYLOAD_INVALID` for what the serialization cannot carry; `CONFIG_INVALID` for its name */
  write(value: unknown, serializer: string, compression: Compression | 'none'): Encoded {
    const { contentType, contentEncoding, encode } = this.#serializers.get(serializer)
    let body: string | Uint8Array
    try {
      body = encode(value)
    } catch (cause) {
      if (cause instanceof CeleriacError) throw cause
      throw new CeleriacError('PAYLOAD_INVALID', `${serializer} cannot carry it: ${(cause as Error).message}`, {
        cause,
      })
    }
    const plain = { body, contentType, contentEncoding, compression: undefined }
    if (compression === 'none' || body.length < smallestCompressed) return plain
    const small = compress(bytesOf(body), compression)
    return { ...plain, body: small.body, compression: small.contentType }
  }

  /** Whether there is a serializer of this name. */
  writes(serializer: string): boolean {
    return this.#serializers.find(serializer) !== undefined
  }

  /** @throws CeleriacError `MESSAGE_INVALID` saying what is wrong and what its producer should change */
  read(message: Message): unknown {
    const serializer = this.#readers.get(message.properties.contentType)
    if (serializer === undefined) throw invalidMessage(this.#whyNot(message.properties.contentType))
    return readWith(serializer, message)
  }

  /** Whether it is accepted or not, for people to look at. @throws CeleriacError `MESSAGE_INVALID` */
  readAny(message: Message): unknown {
    const { contentType } = message.properties
    const serializer = contentType ? this.#serializers.find(contentType) : json
    if (serializer === undefined) throw invalidMessage(`nothing here reads its content type ${contentType}`)
    return readWith(serializer, message)
  }

  #whyNot(contentType: string): string {
    const why =
      contentType === pickleType
        ? 'is never read: unpickling runs whatever the writer wants to be run'
        : `is not accepted here (acceptContent: ${this.#accepted.join(', ')})`
    return `its content type ${contentType || '(none)'} ${why}; let its producer send JSON (in Python: task_serializer = 'json')`
  }
}

function readWith(serializer: Serializer, { headers: { compression }, body }: Message): unknown {
  const plain = typeof compression === 'string' ? inflated(body, compression) : body
  try {
    return serializer.contentEncoding === 'utf-8' ? serializer.decode(textOf(plain)) : serializer.decode(bytesOf(plain))
  } catch (cause) {
    const { name } = serializer
    const why = (cause as Error).message
    throw invalidMessage(`its body is ${serializer === json ? why : `no ${name} that can be read: ${why}`}`, cause)
  }
}

function inflated(body: string | Uint8Array, compression: string): Uint8Array {
  try {
    return inflate(bytesOf(body), compression)
  } catch (cause) {
    throw invalidMessage((cause as Error).message, cause)
  }
}

function textOf(body: string | Uint8Array): string {
  return typeof body === 'string' ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
}

function bytesOf(body: string | Uint8Array): Uint8Array {
  return typeof body === 'string' ? Buffer.from(body) : body
}
