/** The clients that Celeriac's drivers use, for the raw loops; only the calls used here are typed. */
import { nativeImport } from './native-import.ts'

export interface RedisClient {
  lpush(key: string, ...values: string[]): Promise<number>
  llen(key: string): Promise<number>
  zcard(key: string): Promise<number>
  script(action: 'LOAD', lua: string): Promise<string>
  evalsha(sha: string, keyCount: number, ...args: (string | number)[]): Promise<unknown>
  quit(): Promise<unknown>
}

export async function connectRedis(url: string): Promise<RedisClient> {
  const { Redis } = (await nativeImport('ioredis')) as { Redis: new (url: string) => RedisClient }
  return new Redis(url)
}

export interface AmqpMessage {
  readonly content: Buffer
  readonly fields: { readonly deliveryTag: number }
}

export interface AmqpChannel {
  assertQueue(queue: string, options: object): Promise<unknown>
  checkQueue(queue: string): Promise<{ readonly messageCount: number }>
  prefetch(count: number): Promise<unknown>
  consume(queue: string, listener: (message: AmqpMessage | null) => void, options: object): Promise<unknown>
  ack(message: AmqpMessage, allUpTo: boolean): void
  /** Of a confirm channel: `confirmed` is called once the server holds the message. */
  publish(
    exchange: string,
    key: string,
    content: Buffer,
    options: object,
    confirmed: (error: Error | null) => void,
  ): boolean
}

export interface AmqpConnection {
  createChannel(): Promise<AmqpChannel>
  createConfirmChannel(): Promise<AmqpChannel>
  close(): Promise<void>
}

/** Without Nagle's algorithm, which costs 40 ms wherever a small frame follows another. */
export async function connectAmqp(url: string): Promise<AmqpConnection> {
  interface Amqplib {
    readonly connect: (url: string, socketOptions: object) => Promise<AmqpConnection>
  }
  const module = (await nativeImport('amqplib')) as Amqplib & { readonly default?: Amqplib }
  return await (module.default ?? module).connect(url, { noDelay: true })
}
