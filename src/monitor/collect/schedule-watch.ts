/** The periodic tasks of the application, looked at now and then: on some brokers a look costs the beats a question. */
import type { Celeriac } from '../../app.ts'
import type { ScheduleInfo } from '../../beat/schedules.ts'

export class ScheduleWatch {
  readonly #app: Celeriac
  #infos: readonly ScheduleInfo[] = []

  constructor(app: Celeriac) {
    this.#app = app
  }

  /** As they were at the last look. */
  all(): readonly ScheduleInfo[] {
    return this.#infos
  }

  async look(): Promise<void> {
    this.#infos = await this.#app.schedules.list()
  }
}
