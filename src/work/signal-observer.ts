/** What a worker does with tasks, as signals of the application. */
import type { Signals } from '../task/signals.ts'
import type { WorkerObserver } from './observer.ts'

export function signalObserver(signals: Signals): WorkerObserver {
  return {
    onReceived({ message, queue }) {
      if (signals.has('taskReceived')) signals.send('taskReceived', { task: message.task, id: message.id, queue })
    },
    onEnded({ queue }, message, attempt, outcome, runMs) {
      if (message === undefined) return
      const about = { task: message.task, id: message.id, queue }
      switch (outcome.kind) {
        case 'success':
          if (signals.has('taskSuccess')) signals.send('taskSuccess', { ...about, value: outcome.value, runMs })
          return
        case 'retry':
          return signals.send('taskRetry', { ...about, error: outcome.error, countdownMs: outcome.countdownMs })
        case 'failure':
        case 'poison':
          return signals.send('taskFailure', { ...about, error: outcome.error, reason: outcome.reason })
        case 'expired':
          return signals.send('taskRevoked', { ...about, terminated: false, expired: true })
        case 'revoked':
          return signals.send('taskRevoked', { ...about, terminated: outcome.terminated, expired: false })
        case 'lost':
        case 'interrupted':
          if (attempt !== undefined) signals.send('taskRejected', about)
      }
    },
  }
}
