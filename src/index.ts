/** The public API. Drivers are found by URL; `celeriac/testing` has the contract suites and test helpers. */
export { Celeriac, type CeleriacOptions } from './app.ts'
export type { Beat } from './beat/beat.ts'
export type { CronField } from './beat/cron-fields.ts'
export type { BeatCallOptions, BeatEntry, CatchUp, Overlap } from './beat/entry.ts'
export {
  at,
  type CrontabOptions,
  crontab,
  every,
  type Schedule,
  type ScheduleForm,
  type ScheduleInput,
  solar,
} from './beat/schedule.ts'
export type { ScheduleInfo, Schedules } from './beat/schedules.ts'
export type {
  Broker,
  BrokerCapabilities,
  ConsumeOptions,
  Consumer,
  Delivery,
  Depth,
  Effects,
  FetchOptions,
  Message,
  OutgoingMessage,
  PeekedMessage,
  Properties,
  Publisher,
  QueueInfo,
} from './broker/broker.ts'
export type { Bus, BusHeaders, BusMessage, RequestOptions, Subscription } from './broker/bus.ts'
export type { Limiter, Slot, SlotAsk, TokenAsk } from './broker/limiter.ts'
export type { Lock, LockLease } from './broker/lock.ts'
export type { AnyCanvas } from './canvas/canvas.ts'
export { Chain, chain } from './canvas/chain.ts'
export { Chord, type ChordFate, type ChordOptions, chord } from './canvas/chord.ts'
export type { Settled } from './canvas/fit.ts'
export { Group, group, type SkewOptions } from './canvas/group.ts'
export { Replace } from './canvas/replace.ts'
export { Signature } from './canvas/signature.ts'
export { type Clock, systemClock, type Timer } from './clock.ts'
export type { Compression } from './compression.ts'
export type { Durability, WorkerOptions } from './config.ts'
export type { Addressing, ControlOptions, InspectOptions } from './control/addressing.ts'
export type { AddConsumerOptions, Control, RevokeOptions } from './control/client.ts'
export type { Inspect } from './control/inspect.ts'
export {
  type ErrorReply,
  isErrorReply,
  type OkReply,
  type QueueReply,
  type Replies,
  type RequestInfo,
  type ScheduledRequest,
  type StatsReply,
} from './control/replies.ts'
export type { Duration, Size } from './duration.ts'
export {
  CeleriacError,
  type ErrorCode,
  errorCodes,
  Ignore,
  LeaseLostError,
  MaxRetriesExceededError,
  Reject,
  Retry,
  SoftTimeLimitExceeded,
  TaskFailedError,
  TaskRevokedError,
  TimeLimitExceeded,
} from './errors.ts'
export type { FleetTask } from './events/fleet-task.ts'
export type { FleetWorker, TaskCounts } from './events/fleet-worker.ts'
export type { ReceivedEvent } from './events/received-event.ts'
export { type ReceiveOptions, receiveEvents } from './events/receiver.ts'
export { FleetState, type FleetStateOptions } from './events/state.ts'
export type { Logger } from './logger.ts'
export type { Optimization, PoolKind } from './pool-kinds.ts'
export { AsyncResult, type WaitOptions } from './result/async-result.ts'
export { type GroupProgress, GroupResult } from './result/group-result.ts'
export type {
  GroupMember,
  GroupRecord,
  JoinChange,
  JoinPart,
  JoinProgress,
  OpenJoin,
  ResultRecord,
  ResultStore,
  ResultSubscription,
  StoredError,
} from './result/result-store.ts'
export { isReady, type TaskState } from './result/states.ts'
export type { ResultNode } from './result/tree.ts'
export type { WaitingJoin, Why } from './result/why.ts'
export type { DeadLetter, DeadLetterChoice, DeadLetters, RedriveOptions } from './send/dead-letters.ts'
export type { Route, TaskRoutes } from './send/router.ts'
export type { BinarySerializer, Serializer, TextSerializer } from './send/serializer.ts'
export type { BatchContext, BatchOptions, BatchRequest } from './task/batch.ts'
export type { CallOptions } from './task/call-options.ts'
export type { Composed, TaskContext } from './task/context.ts'
export type {
  CallKey,
  CircuitBreakerOptions,
  ConcurrencyOptions,
  RateLimitOptions,
  UniqueOptions,
} from './task/limits.ts'
export type { Middleware, SentCall } from './task/middleware.ts'
export type { TaskOptions } from './task/options.ts'
export type { ErrorClass, ErrorMatch } from './task/retry-policy.ts'
export type { SignalName, Signals, SignalTypes } from './task/signals.ts'
export type { Task } from './task-handle.ts'
export type { Worker, WorkerHealth } from './work/worker.ts'
