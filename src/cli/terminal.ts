/** What the terminal can show: its width, and colours where they are wanted (https://no-color.org). */
import type { WriteStream } from 'node:tty'

export type Colour = 'red' | 'green' | 'yellow' | 'blue' | 'cyan' | 'dim' | 'bold' | 'inverse'

export type Paint = (colour: Colour, text: string) => string

const codes: Record<Colour, readonly [number, number]> = {
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  cyan: [36, 39],
  dim: [2, 22],
  bold: [1, 22],
  inverse: [7, 27],
}

/** Colours text if the stream is a terminal and nobody has objected; FORCE_COLOR is for pipes that show colours. */
export function painter(stream: WriteStream): Paint {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env
  const isForced = FORCE_COLOR !== undefined && FORCE_COLOR !== '' && FORCE_COLOR !== '0'
  const isOn = NO_COLOR ? false : isForced || (stream.isTTY === true && TERM !== 'dumb')
  if (!isOn) return (_colour, text) => text
  return (colour, text) => `\u001b[${codes[colour][0]}m${text}\u001b[${codes[colour][1]}m`
}

/** Columns of the stream; infinite where nobody looks, so that what programs read is not cut. */
export function columnsOf(stream: WriteStream): number {
  return stream.isTTY ? stream.columns || 80 : Number.POSITIVE_INFINITY
}
