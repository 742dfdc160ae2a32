/**
 * Publishing in one AMQP transaction: until the commit the server holds nothing of it, so a publisher that is killed
 * leaves no half behind. Slower than confirmations, and so only for who asks for it.
 */
import type { Channel } from 'amqplib'
import type { Clock } from '../../clock.ts'
import { closeChannel } from './close-channel.ts'
import { requestTimeoutMs, withDeadline } from './deadline.ts'
import { requestFailure } from './failures.ts'
import type { Outbound } from './message.ts'
import type { Session } from './session.ts'
import { write } from './write.ts'

/** Class 90 of AMQP 0-9-1, which amqplib can write, but offers no methods for: class · 2^16 + method. */
const tx = { select: 5_898_250, selectOk: 5_898_251, commit: 5_898_260, commitOk: 5_898_261 }

/** Makes a channel's publishes and acknowledgements wait for `commit`. */
export async function beginTransactions(channel: Channel): Promise<void> {
  await (channel as RpcChannel).rpc(tx.select, {}, tx.selectOk)
}

/** All that was published and acknowledged on the channel since the last commit happens now. */
export async function commit(channel: Channel): Promise<void> {
  await (channel as RpcChannel).rpc(tx.commit, {}, tx.commitOk)
}

interface RpcChannel extends Channel {
  rpc(method: number, fields: object, reply: number): Promise<unknown>
}

/** @throws CeleriacError `BROKER_UNAVAILABLE` when the commit was not answered: then it is not known */
export async function publishInTransaction(
  session: Session,
  clock: Clock,
  outbounds: readonly Outbound[],
): Promise<void> {
  const what = 'a transaction'
  const request = async (): Promise<void> => {
    const channel = await session.openChannel()
    try {
      await beginTransactions(channel)
      for (const outbound of outbounds) write(channel, outbound)
      await commit(channel)
    } catch (error) {
      throw requestFailure(error, what)
    } finally {
      await closeChannel(channel)
    }
  }
  await withDeadline(clock, requestTimeoutMs, what, request())
}
