/** Runs in the main process of a run, before and after all test files. */
import type { TestProject } from 'vitest/node'
import { type SharedRabbitmq, shareRabbitmq } from './shared-rabbitmq.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the run's RabbitMQ node is asked for. */
    rabbitmqShare: string
  }
}

let share: SharedRabbitmq | undefined

export async function setup(project: TestProject): Promise<void> {
  share = await shareRabbitmq()
  project.provide('rabbitmqShare', share.url)
}

export async function teardown(): Promise<void> {
  await share?.close()
}
