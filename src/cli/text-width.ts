/** Text as a terminal shows it: how many columns it takes, and what of it is safe to write there. */

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })
/** Escape sequences would move the cursor; signs that turn the direction of writing would garble the line. */
const dangerous = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu
const isPlain = (text: string): boolean => /^[\x20-\x7e]*$/.test(text)
const zeroWidth = /^[\p{M}\p{Cf}]+$/u
const pictures = /\p{Emoji_Presentation}|\p{Extended_Pictographic}\ufe0f|\p{Regional_Indicator}{2}/u

/** Blocks of wide letters (Unicode's East Asian Width W and F), roughly. */
const wideBlocks: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18cff],
  [0x1f200, 0x1f2ff],
  [0x20000, 0x3fffd],
]

/** What others have sent, on one line, with nothing in it that a terminal would obey. */
export function visible(text: string): string {
  return isPlain(text)
    ? text
    : text
        .replace(/\s*\r?\n\s*/g, ' ')
        .replace(/\t/g, ' ')
        .replace(dangerous, '\ufffd')
}

/** The same of a text of several lines. */
export function visibleLines(text: string): string {
  return text.split(/\r?\n/).map(visibleLine).join('\n')
}

function visibleLine(line: string): string {
  return line.replace(/\t/g, '    ').replace(dangerous, '\ufffd')
}

/** Columns on the terminal. */
export function widthOf(text: string): number {
  if (isPlain(text)) return text.length
  let width = 0
  for (const { segment } of graphemes.segment(text)) width += graphemeWidth(segment)
  return width
}

/** At most so many columns; what was cut ends with an ellipsis. */
export function clip(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text
  if (columns < 1) return ''
  let width = 0
  let kept = ''
  for (const { segment } of graphemes.segment(text)) {
    width += graphemeWidth(segment)
    if (width > columns - 1) break
    kept += segment
  }
  return `${kept}…`
}

/** Exactly so many columns. */
export function pad(text: string, columns: number, align: 'left' | 'right' = 'left'): string {
  const cut = clip(text, columns)
  const room = ' '.repeat(Math.max(0, columns - widthOf(cut)))
  return align === 'right' ? room + cut : cut + room
}

function graphemeWidth(grapheme: string): number {
  if (zeroWidth.test(grapheme)) return 0
  if (pictures.test(grapheme)) return 2
  const code = grapheme.codePointAt(0) ?? 0
  return wideBlocks.some(([first, last]) => code >= first && code <= last) ? 2 : 1
}
