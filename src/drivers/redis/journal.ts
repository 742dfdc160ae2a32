/**
 * Script calls that must happen once, in order, whatever becomes of the connection: publishes and settlements.
 *
 * Each has a number. The script notes the number in a key of this client's, so that a call whose answer was lost is
 * sent again with the same number and, if it had happened, happens no second time. That needs order: after a break all
 * unanswered calls are sent again as they were, before any new one. A call that was refused (memory full, say) has not
 * happened; it gets a new number and a new place.
 */
import { CeleriacError } from '../../errors.ts'
import type { Argument, RedisConnection } from './connection.ts'
import { ConnectionLost, isPassing, replyCode, translate } from './failures.ts'
import { defineScript, type Script } from './script.ts'

/** How long the server remembers a client that says nothing more. */
const rememberMs = 600_000
const refusedPauseMs = 100

/** All of them: a server must know them beforehand, since a call that has to bring its script along loses its place. */
export const journalScripts: Script[] = []

/** A script for the journal. `body` has `ARGV[1..2]` behind it: its own begin at ARGV[3]. It must set `reply`, a text. */
export function defineJournalScript(body: string): Script {
  const script = defineScript(`
local number, again = ARGV[1], ARGV[2]
if again == '1' then
  local last, answer = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):(.*)$')
  if last and tonumber(last) == tonumber(number) then return answer end
  if last and tonumber(last) > tonumber(number) then return '' end
end
local reply = ''
${body}
redis.call('SET', KEYS[1], number .. ':' .. reply, 'PX', ${rememberMs})
return reply
`)
  journalScripts.push(script)
  return script
}

/** A command: its name and arguments. */
export type Plain = readonly [name: string, ...args: Argument[]]

/** What is done once, in its place. */
export interface Entry {
  readonly script: Script
  readonly args: readonly Argument[]
  /**
   * Commands that do the same as the script, whose reply is then ''. What has not been sent before goes by these, in a
   * transaction: Lua reads every argument from end to end, and they hold up the server a third as long.
   */
  readonly plain?: readonly Plain[] | undefined
}

interface Call extends Entry {
  readonly deadline: number
  number: number
  /** Whether it was sent on a connection that then broke. */
  wasSent: boolean
  readonly resolve: (reply: string) => void
  readonly reject: (error: CeleriacError) => void
}

export class Journal {
  readonly #connection: RedisConnection
  readonly #key: string
  readonly #calls = new Map<number, Call>()
  #lastNumber = 0
  #isClosed = false

  /** @param key of this client's alone */
  constructor(connection: RedisConnection, key: string) {
    this.#connection = connection
    this.#key = key
  }

  /**
   * @param timeoutMs how long it may take before it is given up; Infinity waits for as long as the client is open
   * @returns what the script made of `reply`
   * @throws CeleriacError `PUBLISH_TIMEOUT` it may have happened; `BROKER_UNAVAILABLE`, `STORAGE_FULL` … it has not
   */
  call({ script, args, plain }: Entry, timeoutMs: number): Promise<string> {
    if (this.#isClosed) return Promise.reject(closed())
    return new Promise((resolve, reject) => {
      const deadline = performance.now() + timeoutMs
      const call: Call = { script, args, plain, deadline, number: 0, wasSent: false, resolve, reject }
      this.#add(call)
      if (this.#connection.isUp) this.#send(call, false)
      else this.#guard(call)
    })
  }

  /** On a new connection: sends again whatever has no answer. Must be called before anything else is sent on it. */
  resend(): void {
    for (const call of this.#calls.values()) this.#send(call, call.wasSent)
  }

  close(): void {
    this.#isClosed = true
    for (const call of [...this.#calls.values()]) this.#end(call, closed())
  }

  #add(call: Call): void {
    this.#lastNumber += 1
    call.number = this.#lastNumber
    call.wasSent = false
    this.#calls.set(call.number, call)
  }

  #send(call: Call, again: boolean): void {
    const { number } = call
    const sent = call.plain === undefined || again ? this.#sendScript(call, again) : this.#sendPlain(call.plain, number)
    sent.then(
      (reply) => {
        // A repetition answers for itself.
        if (this.#calls.get(number) === call) this.#end(call, undefined, String(reply))
      },
      (error) => {
        if (this.#calls.get(number) === call) this.#failed(call, error)
      },
    )
  }

  #sendScript({ script, number, args }: Call, again: boolean): Promise<unknown> {
    return this.#connection.send('EVALSHA', [script.sha, 1, this.#key, number, again ? 1 : 0, ...args])
  }

  async #sendPlain(plain: readonly Plain[], number: number): Promise<string> {
    const noted: Plain = ['SET', this.#key, `${number}:`, 'PX', rememberMs]
    const replies = await this.#connection.transaction([...plain, noted])
    for (const reply of replies) if (reply instanceof Error) throw reply
    return ''
  }

  #failed(call: Call, error: unknown): void {
    if (error instanceof ConnectionLost) {
      call.wasSent = true
      return this.#guard(call)
    }
    // An answer: it has not happened.
    this.#calls.delete(call.number)
    if (replyCode(error) === 'NOSCRIPT') {
      this.#connection.send('SCRIPT', ['LOAD', call.script.lua]).catch(() => undefined)
      return this.#again(call)
    }
    if (!isPassing(error) || performance.now() + refusedPauseMs > call.deadline) {
      return call.reject(translate(error, this.#connection.where))
    }
    setTimeout(() => this.#again(call), refusedPauseMs)
  }

  #again(call: Call): void {
    if (this.#isClosed) return call.reject(closed())
    this.#add(call)
    if (this.#connection.isUp) this.#send(call, false)
    else this.#guard(call)
  }

  /** While the connection is away: gives the call up when its time is over. */
  #guard(call: Call): void {
    if (call.deadline === Number.POSITIVE_INFINITY) return
    const { number } = call
    setTimeout(
      () => {
        if (this.#calls.get(number) !== call || this.#connection.isUp) return
        this.#end(call, this.#tooLate(call))
      },
      Math.max(0, call.deadline - performance.now()),
    )
  }

  #tooLate({ wasSent }: Call): CeleriacError {
    const cause = this.#connection.lastError
    if (!wasSent) return cause
    return new CeleriacError(
      'PUBLISH_TIMEOUT',
      `the connection broke before Redis had answered, and did not come back in time: it may have been accepted (${cause.message})`,
      { cause },
    )
  }

  #end(call: Call, error: CeleriacError | undefined, reply = ''): void {
    this.#calls.delete(call.number)
    if (error === undefined) call.resolve(reply)
    else call.reject(error)
  }
}

function closed(): CeleriacError {
  return new CeleriacError('CLOSED', 'the connection to Redis is closed')
}
