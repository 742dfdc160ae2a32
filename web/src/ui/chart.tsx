/** Lines over time. What they say is told in words beside. */
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { theme } from '../theme.ts'

export interface Line {
  readonly label: string
  /** A custom property of the stylesheet. */
  readonly colour: string
  readonly values: readonly (number | null)[]
}

export interface ChartProps {
  readonly title: string
  /** Epoch ms. */
  readonly at: readonly number[]
  readonly lines: readonly Line[]
  readonly format: (value: number) => string
  readonly height?: number
}

export function Chart({ title, at, lines, format, height = 180 }: ChartProps) {
  const place = useRef<HTMLDivElement>(null)
  const mode = theme.value
  useEffect(() => {
    const element = place.current
    if (element === null || at.length === 0) return
    const style = getComputedStyle(element)
    const colour = (name: string): string => style.getPropertyValue(name).trim()
    const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } }
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height,
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        scales: { y: { range: (_chart, _low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [
          { ...axis, size: 30, values: (_chart, splits) => splits.map(clock) },
          { ...axis, size: 64, values: (_chart, splits) => splits.map((value) => format(value)) },
        ],
        series: [
          {},
          ...lines.map(({ label, colour: name }) => ({
            label,
            stroke: colour(name),
            width: 1.5,
            points: { show: at.length < 3 },
          })),
        ],
      },
      [at.map((ms) => ms / 1_000), ...lines.map(({ values }) => [...values])] as uPlot.AlignedData,
      element,
    )
    const watch = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height }))
    watch.observe(element)
    return () => {
      watch.disconnect()
      chart.destroy()
    }
  }, [at, lines, height, mode])
  const last = lines.map(({ label, values }) => {
    const value = values.findLast((one) => one !== null)
    return `${label} ${value === undefined || value === null ? 'nothing' : format(value)}`
  })
  return (
    <figure class="chart">
      <figcaption>
        {title}
        <span class="legend">
          {lines.map(({ label, colour }) => (
            <span key={label}>
              <i style={{ background: `var(${colour})` }} />
              {label}
            </span>
          ))}
        </span>
      </figcaption>
      {at.length === 0 ? (
        <p class="note">Nothing yet.</p>
      ) : (
        <div ref={place} role="img" aria-label={`${title}; last: ${last.join(', ')}`} />
      )}
    </figure>
  )
}

/** The same steps for all. The one under way is left out: what is counted so far would look like a fall. */
export function filled<Point extends { readonly at: number }>(
  points: readonly Point[],
  from: number,
  to: number,
  stepMs: number,
) {
  const known = new Map(points.map((point) => [point.at, point]))
  const at: number[] = []
  for (let ms = Math.ceil(from / stepMs) * stepMs; ms + stepMs <= to; ms += stepMs) at.push(ms)
  return { at, points: at.map((ms) => known.get(ms)) }
}

/** `14:05`, and seconds where there are some. */
function clock(seconds: number): string {
  const date = new Date(seconds * 1_000)
  const parts = [date.getHours(), date.getMinutes(), ...(date.getSeconds() === 0 ? [] : [date.getSeconds()])]
  return parts.map((part) => String(part).padStart(2, '0')).join(':')
}
