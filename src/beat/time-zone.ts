/**
 * Local time and the instants it stands for, by the zones that the runtime knows (IANA, through `Intl`). A local time is
 * written as the epoch ms it would have in UTC, so that calendars are plain arithmetic.
 */
import { CeleriacError } from '../errors.ts'

const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs
/** What the runtime is asked for is asked at such marks, and remembered: no two changes come within one stretch. */
const stretchMs = 60 * minuteMs
const mostRemembered = 10_000

export class TimeZone {
  readonly name: string
  readonly #format: Intl.DateTimeFormat | undefined
  readonly #offsets = new Map<number, number>()

  private constructor(name: string) {
    this.name = name
    if (name !== 'UTC') this.#format = formatOf(name)
  }

  /** The same object for the same name. @throws CeleriacError `CONFIG_INVALID` for a zone that the runtime does not know */
  static of(name: string): TimeZone {
    let zone = zones.get(name)
    if (zone === undefined) {
      zone = new TimeZone(name)
      zones.set(name, zone)
    }
    return zone
  }

  /** Local time minus UTC at an instant, in ms. */
  offset(instantMs: number): number {
    if (this.#format === undefined) return 0
    const mark = Math.floor(instantMs / stretchMs)
    const offset = this.#offsetAtMark(mark, this.#format)
    return offset === this.#offsetAtMark(mark + 1, this.#format) ? offset : offsetBy(this.#format, instantMs)
  }

  /** The first instant of an offset that begins after `fromMs` and is in force at `toMs`, where there is one change between. */
  changeBetween(fromMs: number, toMs: number): number {
    const before = this.offset(fromMs)
    let low = fromMs
    let high = toMs
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (this.offset(middle) === before) low = middle
      else high = middle
    }
    return high
  }

  /**
   * The instant of a local time. One that comes twice means the first; one that is skipped means the moment at which the
   * clocks are put forward.
   */
  instantOf(localMs: number): number {
    // A day to either side is farther than any offset; between them lies at most one change.
    const before = this.offset(localMs - dayMs)
    const after = this.offset(localMs + dayMs)
    const early = localMs - before
    if (before === after || this.offset(early) === before) return early
    const late = localMs - after
    if (this.offset(late) === after) return late
    return this.changeBetween(localMs - dayMs, localMs + dayMs)
  }

  #offsetAtMark(mark: number, format: Intl.DateTimeFormat): number {
    let offset = this.#offsets.get(mark)
    if (offset === undefined) {
      offset = offsetBy(format, mark * stretchMs)
      if (this.#offsets.size >= mostRemembered) this.#offsets.clear()
      this.#offsets.set(mark, offset)
    }
    return offset
  }
}

const zones = new Map<string, TimeZone>()

function formatOf(name: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
  } catch (cause) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `\`timezone\` must be a name such as 'Europe/Berlin' or 'UTC', got '${name}'`,
      { cause },
    )
  }
}

/** Reads `1/31/2024, 23:59:59`. */
function offsetBy(format: Intl.DateTimeFormat, instantMs: number): number {
  const [month, day, year, hour, minute, second] = (format.format(instantMs).match(/\d+/g) ?? []).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(instantMs / 1_000) * 1_000
}
