/** The API's shapes as types, for the pages: they import nothing else of the monitor. */
import type { z } from 'zod'
import type * as shapes from './api/shapes.ts'

type Of<Shape extends z.ZodType> = z.output<Shape>

export type { TaskNode } from './api/shapes.ts'
export type TaskSummary = Of<typeof shapes.TaskSummary>
export type TaskPage = Of<typeof shapes.TaskPage>
export type TaskEvent = Of<typeof shapes.TaskEvent>
export type Attempt = Of<typeof shapes.Attempt>
export type TaskDetail = Of<typeof shapes.TaskDetail>
export type TaskFilter = Of<typeof shapes.TaskFilter>
export type CountsPoint = Of<typeof shapes.CountsPoint>
export type TaskCounts = Of<typeof shapes.TaskCounts>
export type GaugePoint = Of<typeof shapes.GaugePoint>
export type Series = Of<typeof shapes.Series>
export type Queue = Of<typeof shapes.Queue>
export type QueueDetail = Of<typeof shapes.QueueDetail>
export type WaitingMessage = Of<typeof shapes.WaitingMessage>
export type Worker = Of<typeof shapes.Worker>
export type WorkerDetail = Of<typeof shapes.WorkerDetail>
export type Told = Of<typeof shapes.Told>
export type DeadLetter = Of<typeof shapes.DeadLetter>
export type DeadLetterGroup = Of<typeof shapes.DeadLetterGroup>
export type LetterFilter = Of<typeof shapes.LetterFilter>
export type Retried = Of<typeof shapes.Retried>
export type Job = Of<typeof shapes.Job>
export type Started = Of<typeof shapes.Started>
export type AuditEntry = Of<typeof shapes.AuditEntry>
export type Me = Of<typeof shapes.Me>
export type Broker = Of<typeof shapes.Broker>
export type Overview = Of<typeof shapes.Overview>
export type Stage = Of<typeof shapes.Stage>
export type Pipeline = Of<typeof shapes.Pipeline>
export type Remedy = Of<typeof shapes.Remedy>
export type Finding = Of<typeof shapes.Finding>
export type Sos = Of<typeof shapes.Sos>
export type AlertRule = Of<typeof shapes.AlertRule>
export type NewAlertRule = Of<typeof shapes.NewAlertRule>
export type AlertChannel = Of<typeof shapes.AlertChannel>
export type NewAlertChannel = Of<typeof shapes.NewAlertChannel>
export type Alert = Of<typeof shapes.Alert>
export type AlertEvent = Of<typeof shapes.AlertEvent>
export type Schedule = Of<typeof shapes.Schedule>
export type Problem = Of<typeof shapes.Problem>

/** What `GET /api/v1/live` sends: the event's name, and its data as JSON. */
export interface LiveEvents {
  readonly overview: Overview
  /** Those that have changed, at most 200 at a time. */
  readonly tasks: readonly TaskSummary[]
  readonly queues: readonly Queue[]
  readonly workers: readonly Worker[]
  readonly alert: Alert & { readonly event: 'firing' | 'resolved' }
  readonly job: Job
  /** The reader was too slow, or more changed than is sent: read the lists anew. */
  readonly missed: { readonly count: number }
}
