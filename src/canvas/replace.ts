/** What a task throws to go on as something else. */
import { CeleriacError } from '../errors.ts'
import type { AnyCanvas } from './canvas.ts'

export class Replace extends CeleriacError {
  readonly canvas: AnyCanvas

  constructor(canvas: AnyCanvas) {
    super('TASK_REPLACED', 'the task is replaced with other tasks')
    this.canvas = canvas
  }
}

/** The data alone, to be sent to another process, where `wireOf` takes it as it is. */
export function plainCanvas(canvas: AnyCanvas): object {
  const { kind } = canvas
  const { options, links, errorLinks, stamps } = canvas.told
  const told = { options, links: links.map(plainCanvas), errorLinks: errorLinks.map(plainCanvas), stamps }
  switch (canvas.kind) {
    case 'signature':
      return { kind, told, parts: canvas.parts }
    case 'chain':
      return { kind, told, steps: canvas.steps.map(plainCanvas) }
    case 'group':
      return { kind, told, members: canvas.members.map(plainCanvas) }
    case 'chord':
      return { kind, told, header: plainCanvas(canvas.header), body: plainCanvas(canvas.body), fate: canvas.fate }
  }
}
