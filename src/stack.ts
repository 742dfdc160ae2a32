/** Stacks as people need them: their own frames, not the way from the worker down to them. */
import { fileURLToPath } from 'node:url'

const packageRoot = fileURLToPath(new URL('../', import.meta.url))
const ourFrame =
  /[\\/]node_modules[\\/](celeriac|jiti|commander)[\\/]|\bnode:internal\b|\bnode:async_hooks\b|Promise\.all \(/

/** The frames of a stack text, without those of Node and of this package; all of them if that would leave none. */
export function userFrames(stack: string | null | undefined): string[] {
  const frames = (stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  const own = frames.filter((line) => !isOurs(line))
  return (own.length > 0 ? own : frames).map((line) => line.trim())
}

function isOurs(line: string): boolean {
  const path = line.replace('file://', '')
  return (
    ourFrame.test(line) ||
    ['dist', 'src', 'bin', 'node_modules'].some((folder) => path.includes(`${packageRoot}${folder}/`))
  )
}
