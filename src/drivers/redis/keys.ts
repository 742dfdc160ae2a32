/**
 * What lies under which key. `P` is the client's prefix; SEP is kombu's two bytes 0x06 0x16.
 *
 * kombu's, shared with Python (kombu `transport/redis.py`):
 *
 *     P<queue>                     list    messages without a priority and of wire priority 0–2; new ones at the head
 *     P<queue>SEP3, SEP6, SEP9     list    those of wire priority 3–5, 6–8, 9; 0 is the most urgent
 *     Punacked                     hash    delivery tag → [envelope, exchange, routing key]: what Python has on loan
 *     Punacked_index               zset    delivery tag, by when it was delivered: epoch seconds
 *     Punacked_mutex               string  who restores what Python's workers have left lying
 *     P_kombu.binding.<exchange>   set     what producers of Python look up
 *     P<asker>.reply.celery.pidbox list    replies to control messages, for as long as somebody waits for them
 *
 * Celery's (`celery/backends/redis.py`); the first is also the channel its news are told on:
 *
 *     Pcelery-task-meta-<task>     string  a task's record, see `result-record.ts`; expires
 *     Pcelery-taskset-meta-<group>.j .t .s zset, string, string  a join, see `result-join.ts`; expire
 *     Pcelery-taskset-meta-<group> string  who belongs to a group, where Celery must know; expires
 *
 * Ours:
 *
 *     Pceleriac:consumers          zset    consumer, by when its lease lapses: epoch ms of the server
 *     Pceleriac:consumer:<id>      hash    its name, its queues and those it may have inboxes of, as JSON
 *     Pceleriac:held:<id>          hash    number → `<place>:<queue>`: what it has on loan, in the order of the numbers
 *     Pceleriac:lent:<id>          hash    number → envelope of the same
 *     Pceleriac:inbox:<id>:<queue> list    moved to it by its blocking wait, and not yet recorded in the two above
 *     Pceleriac:delayed:<queue>    zset    `<number, 13 digits><step>` of a message, by when it is due: epoch ms
 *     Pceleriac:later:<queue>      hash    the same → envelope
 *     Pceleriac:due                zset    queue, by when its first delayed message is due
 *     Pceleriac:number             string  counts delayed messages, so that those due at once keep their order
 *     Pceleriac:queues             set     queues somebody has used
 *     Pceleriac:paused             set     queues that are paused
 *     Pceleriac:blocked            hash    server's number of a waiting connection → queue it waits for
 *     Pceleriac:client:<id>        string  number and answer of a client's last call, see `journal.ts`; expires
 *     Pceleriac:join:<group>       hash    who joined, or that it is closed, see `result-join.ts`; expires with results
 *     Pceleriac:joins              zset    groups of joins that are not closed, by when they were begun: epoch seconds
 *     Pceleriac:group:<group>      string  who belongs to a group, and the body of a chord, as JSON; expires with results
 *     Pceleriac:lock:<name>        string  who holds it and the token; expires with the lease
 *     Pceleriac:lock-token         string  counts tokens of all locks
 *     Pceleriac:bucket:<key>       string  what is given out of a rate, see `limiter.ts`; expires when all of it is due
 *     Pceleriac:slots:<key>        zset    holder, by when its lease is over: epoch ms; expires with the last
 *     Pceleriac:claim:<key>        string  the value it stands for; expires with the claim
 *     Pceleriac:schedule:<scope>   hash    entry → `<revision> <value>`, see `schedule-store.ts`
 *     Pceleriac:schedule-changed:<scope> set  entries that a leading beat is to look at again
 *     Pceleriac:schedule-fence:<scope> string the largest token a beat has led with
 *
 * A place is a step (`0`, `3`, `6`, `9`), or `d<due>/<step>` for a message that was taken while it was delayed. An
 * envelope that a lost consumer held begins with the key `celeriac-losses`, which Python carries along.
 */
import { type Properties, priorityOf } from '../../broker/broker.ts'

export const separator = '\x06\x16'

/** kombu's `priority_steps`, the most urgent first. */
export const steps = [0, 3, 6, 9] as const

/** What Celery writes where nothing is set; with it, Python's and our messages share a list. */
const unsetWire = 0

export function wirePriority(properties: Properties): number {
  return properties.priority === undefined ? unsetWire : 9 - priorityOf(properties, 0)
}

/** Undefined where it may just as well be unset. */
export function priorityFromWire(wire: unknown): number | undefined {
  return typeof wire === 'number' && wire > unsetWire && wire <= 9 ? 9 - wire : undefined
}

export function stepOf(wire: number): number {
  return steps.findLast((step) => step <= wire) ?? 0
}

export function listKey(prefix: string, queue: string, step: number): string {
  return step === 0 ? `${prefix}${queue}` : `${prefix}${queue}${separator}${step}`
}

/** Which queues an exchange leads to: `<routing key>SEP<pattern>SEP<queue>` each. */
export function bindingKey(prefix: string, exchange: string): string {
  return `${prefix}_kombu.binding.${exchange}`
}

export function inboxKey(prefix: string, consumer: string, queue: string): string {
  return `${prefix}celeriac:inbox:${consumer}:${queue}`
}
