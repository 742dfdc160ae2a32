import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { type RunningTask, runAs, runningTask } from '../../src/task/context.ts'

function task(taskId: string): RunningTask {
  return { taskId, rootId: taskId, addChild: () => undefined }
}

const current = (): string | undefined => runningTask()?.taskId

/** So often that it is taken for a task that returns no promise. */
function runPlainly(definition: object): void {
  for (let run = 0; run < 100; run++) expect(runAs(task(`plain ${run}`), definition, current)).toBe(`plain ${run}`)
}

describe('the running task', () => {
  it('is known throughout a function that waits', async () => {
    const seen: unknown[] = []
    await Promise.all(
      ['a', 'b'].map((id) =>
        runAs(task(id), {}, async () => {
          seen.push([id, current()])
          await pause(1)
          seen.push([id, current()])
          await new Promise((resolve) => setImmediate(() => resolve(seen.push([id, current()]))))
        }),
      ),
    )

    expect(seen).toHaveLength(6)
    for (const [id, found] of seen as [string, string][]) expect(found).toBe(id)
    expect(current()).toBeUndefined()
  })

  it('is known throughout a function that does not, however often it runs', () => {
    runPlainly({})
    expect(current()).toBeUndefined()
  })

  it('is known to one that waits while others run that do not', async () => {
    const plain = {}
    runPlainly(plain)
    const waiting = runAs(task('waiting'), {}, async () => {
      for (let turn = 0; turn < 3; turn++) {
        await pause(1)
        expect(current()).toBe('waiting')
      }
    })
    const beside = setInterval(() => runPlainly(plain), 0)
    await waiting
    clearInterval(beside)

    await runAs(task('later'), {}, async () => {
      await pause(1)
      expect(current()).toBe('later')
    })
  })

  it('is the inner one where a task runs within another, and the outer one afterwards', async () => {
    const plain = {}
    runPlainly(plain)

    await runAs(task('outer'), {}, async () => {
      await pause(1)
      expect(runAs(task('inner'), plain, current)).toBe('inner')
      expect(current()).toBe('outer')
    })
  })

  it('is forgotten where a function throws', () => {
    const plain = {}
    runPlainly(plain)
    const fail = (): never => {
      throw new Error('no')
    }

    expect(() => runAs(task('thrower'), plain, fail)).toThrow('no')
    expect(() => runAs(task('thrower'), {}, fail)).toThrow('no')

    expect(current()).toBeUndefined()
  })

  it('is followed from the second time on where a function begins to wait', async () => {
    const definition = {}
    runPlainly(definition)
    const wait = async (): Promise<string | undefined> => {
      await pause(1)
      return current()
    }

    await runAs(task('first'), definition, wait)

    expect(await runAs(task('second'), definition, wait)).toBe('second')
  })
})
