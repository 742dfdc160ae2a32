/**
 * The terminal as a screen to draw on, with single keys. Whatever ends the process, the terminal is given back: its own
 * screen, its cursor, its line editing.
 */
import { emitKeypressEvents } from 'node:readline'
import type { ReadStream, WriteStream } from 'node:tty'
import type { Key } from './top-keys.ts'

const alternateScreen = { enter: '\u001b[?1049h', leave: '\u001b[?1049l' }
const cursor = { hide: '\u001b[?25l', show: '\u001b[?25h' }
const wrapping = { off: '\u001b[?7l', on: '\u001b[?7h' }
const home = '\u001b[H'
const eraseLine = '\u001b[K'
const eraseBelow = '\u001b[J'

export interface ScreenListener {
  readonly onKey: (key: Key) => void
  readonly onResize: () => void
}

export class Screen {
  readonly #stdin: ReadStream
  readonly #stdout: WriteStream
  readonly #listener: ScreenListener
  readonly #onKeypress = (_text: string | undefined, key: Key): void => this.#listener.onKey(key)
  readonly #onResize = (): void => this.#listener.onResize()
  /** Runs also after an exception that nobody caught. */
  readonly #onExit = (): void => this.close()
  #isOpen = false

  constructor(stdin: ReadStream, stdout: WriteStream, listener: ScreenListener) {
    this.#stdin = stdin
    this.#stdout = stdout
    this.#listener = listener
  }

  get size(): { readonly columns: number; readonly rows: number } {
    return { columns: this.#stdout.columns || 80, rows: this.#stdout.rows || 24 }
  }

  open(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    process.on('exit', this.#onExit)
    emitKeypressEvents(this.#stdin)
    this.#stdin.setRawMode(true)
    this.#stdin.on('keypress', this.#onKeypress)
    this.#stdin.resume()
    this.#stdout.on('resize', this.#onResize)
    this.#stdout.write(alternateScreen.enter + cursor.hide + wrapping.off)
  }

  /** Over what was drawn before. Each line is erased first: after a full one that would take its last letter. */
  draw(lines: readonly string[]): void {
    if (!this.#isOpen) return
    this.#stdout.write(home + lines.map((line) => eraseLine + line).join('\r\n') + eraseBelow)
  }

  /** Harmless when closed. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    process.off('exit', this.#onExit)
    this.#stdin.off('keypress', this.#onKeypress)
    this.#stdout.off('resize', this.#onResize)
    this.#stdout.write(wrapping.on + cursor.show + alternateScreen.leave)
    this.#stdin.setRawMode(false)
    this.#stdin.pause()
  }
}
