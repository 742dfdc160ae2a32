/** What the sun does at a place, by Celery's names. The times are suncalc's, right to about a minute. */
import { getTimes, type SunTimeName } from 'suncalc'
import type { Schedule, SolarPlace } from './schedule.ts'

const names = {
  dawn_astronomical: 'nightEnd',
  dawn_nautical: 'nauticalDawn',
  dawn_civil: 'dawn',
  sunrise: 'sunrise',
  solar_noon: 'solarNoon',
  sunset: 'sunset',
  dusk_civil: 'dusk',
  dusk_nautical: 'nauticalDusk',
  dusk_astronomical: 'night',
} as const satisfies Record<string, SunTimeName | 'solarNoon'>

export type SolarEvent = keyof typeof names

export const solarEvents = Object.keys(names) as SolarEvent[]

const dayMs = 86_400_000
/** Near the poles an event may not happen for half a year. */
const longestSearchDays = 400

export class Solar implements Schedule {
  readonly #place: SolarPlace

  constructor(place: SolarPlace) {
    this.#place = place
  }

  next(afterMs: number): number | null {
    const { event, lat, lon } = this.#place
    // The sun's day at a place may have begun on the day before or after.
    for (let day = -1; day <= longestSearchDays; day++) {
      const time = getTimes(new Date(afterMs + day * dayMs), lat, lon)[names[event]]
      if (time === null) continue
      const timeMs = Math.round(time.getTime() / 1_000) * 1_000
      if (timeMs > afterMs) return timeMs
    }
    return null
  }

  describe(): string {
    const { event, lat, lon } = this.#place
    const north = `${Math.abs(lat)}°${lat < 0 ? 'S' : 'N'}`
    const east = `${Math.abs(lon)}°${lon < 0 ? 'W' : 'E'}`
    return `at ${event.replace('_', ' ')}, ${north} ${east}`
  }
}
