import { celery } from './bus/celery.ts'
import { closing } from './bus/closing.ts'
import { fanOut } from './bus/fan-out.ts'
import type { BusFixture, BusHarness } from './bus/fixture.ts'
import { requests } from './bus/requests.ts'
import { topics } from './bus/topics.ts'
import { contract } from './contract.ts'

/** Every promise of `broker/bus.ts`, as a suite for one driver. */
export function busContract(name: string, harness: BusHarness): void {
  contract<BusFixture>(`${name} bus`, harness, { 'fan-out': fanOut, topics, requests, celery, closing })
}
