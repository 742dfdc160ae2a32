/** Groups without members belong to no application: there is nothing to send, and their results are there at once. */
import { randomUUID } from 'node:crypto'
import { CeleriacError } from '../errors.ts'
import { GroupResult } from '../result/group-result.ts'
import type { AnyCanvas, Canvas, End, ResultOf, Sender } from './canvas.ts'

const nobody: Sender = {
  send: async <Gives, Ends extends End>(canvas: Canvas<[], Gives, Ends>) =>
    resultOfNone(canvas as unknown as AnyCanvas) as ResultOf<Gives, Ends>,
}

/** That of the first part which has a task. */
export function senderOf(parts: readonly AnyCanvas[]): Sender {
  return parts.find((part) => part?.sender !== nobody)?.sender ?? nobody
}

function resultOfNone(canvas: AnyCanvas): GroupResult {
  if (canvas.kind === 'group') return new GroupResult(randomUUID(), canvas.members.map(resultOfNone), undefined)
  throw new CeleriacError('CANVAS_INVALID', `this ${canvas.kind} has no task in it that could be sent`)
}
