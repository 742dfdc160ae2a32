/** Results on Redis, in the form and under the keys of Celery's: Python reads ours, and we read Python's. */
import type {
  GroupRecord,
  JoinChange,
  JoinProgress,
  OpenJoin,
  ResultRecord,
  ResultStore,
  ResultSubscription,
} from '../../result/result-store.ts'
import { RedisBroker } from './broker.ts'
import type { RedisClient } from './client.ts'
import { ClientUse } from './client-use.ts'
import { ResultGroups } from './result-group.ts'
import { ResultJoins } from './result-join.ts'
import { decodeRecord } from './result-record.ts'
import { ResultWriter, recordKey } from './result-save.ts'
import { ResultWatch, readTexts } from './result-watch.ts'

export class RedisResultStore implements ResultStore {
  readonly replyTo = undefined
  readonly joins = true
  readonly #client: RedisClient
  readonly #writer: ResultWriter
  readonly #joins: ResultJoins
  readonly #groups: ResultGroups
  readonly #watches = new Set<ResultWatch>()
  readonly #use: ClientUse

  constructor(client: RedisClient) {
    this.#client = client
    this.#use = new ClientUse(client, 'the result store')
    this.#writer = new ResultWriter(client)
    this.#joins = new ResultJoins(client)
    this.#groups = new ResultGroups(client)
  }

  open(): Promise<void> {
    return this.#use.open()
  }

  async save(records: readonly ResultRecord[]): Promise<void> {
    this.#use.assertOpen()
    await this.#writer.save(records)
  }

  async load(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    this.#use.assertOpen()
    const keys = taskIds.map((id) => recordKey(this.#client, id))
    const texts = await readTexts(this.#client, keys)
    return taskIds.map((id, index) => this.#read(id, texts[index] ?? null))
  }

  async subscribe(taskIds: readonly string[], listener: (record: ResultRecord) => void): Promise<ResultSubscription> {
    this.#use.assertOpen()
    const watch = new ResultWatch(this.#client, taskIds, listener)
    this.#watches.add(watch)
    const close = async (): Promise<void> => {
      this.#watches.delete(watch)
      await watch.close()
    }
    try {
      await watch.open()
    } catch (error) {
      await close()
      throw error
    }
    return { close }
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    this.#use.assertOpen()
    const keys = taskIds.map((id) => recordKey(this.#client, id))
    if (keys.length > 0) await this.#client.command('UNLINK', ...keys)
  }

  async join(groupId: string, change: JoinChange): Promise<JoinProgress> {
    this.#use.assertOpen()
    return this.#joins.join(groupId, change)
  }

  async closeJoin(groupId: string): Promise<void> {
    this.#use.assertOpen()
    await this.#joins.close(groupId)
  }

  async openJoins(limit: number): Promise<OpenJoin[]> {
    this.#use.assertOpen()
    return this.#joins.open(limit)
  }

  async saveGroups(groups: readonly GroupRecord[], forCelery = false): Promise<void> {
    this.#use.assertOpen()
    await this.#groups.save(groups, forCelery)
  }

  async loadGroup(groupId: string): Promise<GroupRecord | undefined> {
    this.#use.assertOpen()
    return this.#groups.load(groupId)
  }

  /** Redis removes by itself what is over, so that there is never anything left to remove. */
  async expire(): Promise<number> {
    this.#use.assertOpen()
    return 0
  }

  sharesStorageWith(broker: object): boolean {
    return broker instanceof RedisBroker && broker.client === this.#client
  }

  close(): Promise<void> {
    return this.#use.close(() => Promise.all(Array.from(this.#watches, (watch) => watch.close())))
  }

  #read(taskId: string, text: string | null): ResultRecord | undefined {
    if (text === null) return undefined
    const record = decodeRecord(taskId, text)
    if (record === undefined) this.#client.logger.warn({ taskId }, 'the stored result of a task cannot be read')
    return record
  }
}
