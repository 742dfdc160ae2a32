/**
 * Random canvases on the memory broker, with a clock that only the test moves, under everything that may happen to
 * messages: every tree must end, and as the reference interpreter below says. Many more with `CELERIAC_TEST_LONG`.
 */
import {
  type AnyCanvas,
  Chain,
  Chord,
  type Clock,
  Group,
  GroupResult,
  isReady,
  type ResultRecord,
  type ResultStore,
  Signature,
} from 'celeriac'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { MemoryBroker, MemoryResultStore, MemoryStore } from '../../src/drivers/memory/index.ts'
import type { RunOutcome } from '../../src/pool/outcome.ts'
import { Run } from '../../src/pool/run.ts'
import { Content } from '../../src/send/content.ts'
import { Producer } from '../../src/send/producer.ts'
import { createRouter } from '../../src/send/router.ts'
import { Serializers } from '../../src/send/serializer.ts'
import { resolveTaskOptions } from '../../src/task/options.ts'
import { Registry } from '../../src/task/registry.ts'
import { Signals } from '../../src/task/signals.ts'
import { passGate } from '../../src/work/gate.ts'
import { Revoked } from '../../src/work/revoked.ts'
import { settle } from '../../src/work/settle.ts'
import { silent } from './fixture.ts'

const trees = process.env.CELERIAC_TEST_LONG === undefined ? 2_000 : 100_000

/** What a task is to do. */
interface Plan {
  readonly name: number
  /** Runs that fail before the one that counts. */
  readonly retries: number
  readonly fate: 'ends' | 'fails' | 'is replaced'
  readonly by?: Tree
}

type Tree =
  | { readonly kind: 'task'; readonly plan: Plan }
  | { readonly kind: 'chain'; readonly steps: readonly Tree[] }
  | { readonly kind: 'group'; readonly members: readonly Tree[] }
  | { readonly kind: 'chord'; readonly header: readonly Tree[]; readonly body: Tree; readonly settles: boolean }

const { tree } = fc.letrec<{ tree: Tree; task: Tree }>((tie) => {
  const list = (least: number) => fc.array(tie('tree'), { minLength: least, maxLength: 3, depthIdentifier: 'tree' })
  return {
    task: fc.record({
      kind: fc.constant('task' as const),
      plan: fc.oneof(
        { depthIdentifier: 'tree' },
        {
          weight: 9,
          arbitrary: fc.record({
            name: fc.nat(99),
            retries: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(2) }),
            fate: fc.oneof(
              { weight: 12, arbitrary: fc.constant('ends' as const) },
              { weight: 1, arbitrary: fc.constant('fails' as const) },
            ),
          }),
        },
        {
          weight: 1,
          arbitrary: fc.record({
            name: fc.nat(99),
            retries: fc.nat(1),
            fate: fc.constant('is replaced' as const),
            by: tie('tree'),
          }),
        },
      ),
    }),
    tree: fc.oneof(
      { maxDepth: 4, depthIdentifier: 'tree' },
      { weight: 4, arbitrary: tie('task') },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('chain' as const), steps: list(1) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('group' as const), members: list(0) }) },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant('chord' as const),
          header: list(0),
          body: tie('tree'),
          settles: fc.boolean(),
        }),
      },
    ),
  }
}) as { tree: fc.Arbitrary<Tree> }

/** What becomes of it: a value, or the class of an error. */
type End = { readonly value: unknown } | { readonly error: string }

/** The reference: what a tree comes to, where nothing ever happens to a message. */
function interpret(tree: Tree, before: unknown): End {
  switch (tree.kind) {
    case 'task': {
      const { fate, by } = tree.plan
      if (fate === 'fails') return { error: 'RangeError' }
      return fate === 'is replaced' ? interpret(by as Tree, null) : { value: valueAfter(tree.plan, before) }
    }
    case 'chain': {
      let end: End = { value: before }
      for (const step of tree.steps) if ('value' in end) end = interpret(step, end.value)
      return end
    }
    case 'group': {
      const ends = tree.members.map((member) => interpret(member, before))
      return ends.every((end) => 'value' in end)
        ? { value: ends.map((end) => 'value' in end && end.value) }
        : { error: 'ChordError' }
    }
    case 'chord': {
      if (tree.settles)
        return interpret(
          tree.body,
          tree.header.map((member) => settledOf(member, before)),
        )
      const header = interpret({ kind: 'group', members: tree.header }, before)
      return 'value' in header ? interpret(tree.body, header.value) : header
    }
  }
}

/** A group within a header is a list of members there. */
function settledOf(member: Tree, before: unknown): unknown {
  if (member.kind === 'group') return member.members.map((inner) => settledOf(inner, before))
  const end = interpret(member, before)
  if ('value' in end) return { status: 'fulfilled', value: end.value }
  return { status: 'rejected', reason: { type: end.error } }
}

/** Short, and another one for whatever else comes in. Messages of errors hold ids, which are others each time. */
function valueAfter({ name }: Plan, before: unknown): number {
  const text = `${name}:${JSON.stringify(before, (key, value) => (key === 'message' ? undefined : value))}`
  let hash = 7
  for (let at = 0; at < text.length; at++) hash = (hash * 31 + text.charCodeAt(at)) % 1_000_003
  return hash
}

function hasTask(tree: Tree): boolean {
  if (tree.kind === 'task') return true
  if (tree.kind === 'chain') return tree.steps.some(hasTask)
  return tree.kind === 'group' ? tree.members.some(hasTask) : [...tree.header, tree.body].some(hasTask)
}

/** After which a worker may die. */
type Step = 'join' | 'store' | 'send' | 'settle'

/** One tree on a broker of its own. */
class World {
  nowMs = 1_000_000
  readonly #random: () => number
  readonly #clock: Clock = {
    now: () => this.nowMs,
    monotonic: () => this.nowMs,
    after: () => ({ cancel: () => undefined }),
  }
  readonly #store = new MemoryStore()
  readonly #broker = new MemoryBroker({ store: this.#store, clock: this.#clock })
  readonly results: ResultStore
  readonly #registry = new Registry()
  readonly #content = new Content(new Serializers(), ['json'])
  readonly producer: Producer
  /** Results elsewhere than the broker: then storing, sending and acknowledging are three steps. */
  readonly #isApart: boolean
  /** Where the worker dies next, if it does. */
  #deathAt: Step | undefined

  constructor(seed: number) {
    let state = seed
    this.#isApart = seed % 2 === 1
    this.#random = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state / 2 ** 32
    }
    this.results = this.#watched(new MemoryResultStore({ store: this.#store, clock: this.#clock }))
    const options = resolveTaskOptions('step', { maxRetries: 5 }, {})
    this.#registry.add({
      name: 'step',
      options,
      input: undefined,
      run: (args, _kwargs, ctx) => {
        const plan = args.at(-1) as Plan
        if (ctx.retries < plan.retries) throw ctx.retry({ countdown: '10ms', cause: new Error('not yet') })
        if (plan.fate === 'fails') throw new RangeError('no')
        if (plan.fate === 'is replaced') throw ctx.replace(this.canvasOf(plan.by as Tree) as never)
        return valueAfter(plan, args.length > 1 ? args[0] : null)
      },
    })
    this.producer = new Producer({
      broker: this.#broker,
      results: this.results,
      registry: this.#registry,
      router: createRouter(undefined),
      clock: this.#clock,
      content: this.#content,
      settings: {
        defaultQueue: 'q',
        defaultPriority: undefined,
        serializer: 'json',
        compression: 'none',
        maxMessageBytes: Number.POSITIVE_INFINITY,
      },
      revoke: async () => undefined,
      signals: new Signals(silent),
      middleware: [],
      limiter: () => Promise.reject(new Error('no limits here')),
    })
  }

  canvasOf(tree: Tree): AnyCanvas {
    const sender = this.producer
    switch (tree.kind) {
      case 'task':
        return new Signature({ task: 'step', args: [tree.plan], kwargs: {}, options: {}, immutable: false }, sender)
      case 'chain':
        return new Chain(
          tree.steps.map((step) => this.canvasOf(step)),
          sender,
        )
      case 'group':
        return new Group(
          tree.members.map((member) => this.canvasOf(member)),
          sender,
        )
      case 'chord': {
        const header = new Group(
          tree.header.map((member) => this.canvasOf(member)),
          sender,
        )
        return new Chord(header, this.canvasOf(tree.body), tree.settles ? 'settle' : 'fail', sender)
      }
    }
  }

  /** Runs whatever there is until nothing is left. */
  async runAll(): Promise<void> {
    const consumer = await this.#broker.consume(['q'])
    for (let turn = 0; turn < 5_000; turn++) {
      const deliveries = await consumer.fetch(1 + Math.floor(this.#random() * 4), { waitMs: 0 })
      if (deliveries.length === 0) {
        const { ready, delayed } = await this.#broker.depth('q')
        if (ready + delayed === 0) return
        this.nowMs += 10
        continue
      }
      deliveries.sort(() => this.#random() - 0.5)
      for (const delivery of deliveries) await this.#runOne(delivery)
    }
    throw new Error('it does not end')
  }

  async #runOne(delivery: Parameters<typeof passGate>[0]): Promise<void> {
    const { message, queue } = delivery
    // A publisher whose connection broke sends a message again.
    if (this.#random() < 0.05) await this.#broker.publish([{ ...message, queue }])
    const gate = {
      registry: this.#registry,
      content: this.#content,
      revoked: new Revoked(this.#clock),
      results: this.results,
    }
    const passage = passGate(delivery, gate, this.nowMs)
    if (!passage.pass) throw new Error(`it did not pass the gate: ${passage.outcome.kind}`)
    const { attempt } = passage
    const outcome = (await new Run(attempt, {
      clock: this.#clock,
      logger: silent,
      worker: 'w',
      limitsOf: () => ({ softMs: undefined, hardMs: undefined }),
      updateState: async () => undefined,
      loadStep: async () => undefined,
      keepStep: async () => undefined,
    }).outcome()) as RunOutcome
    const fate = this.#random()
    this.#deathAt = (['join', 'store', 'send', 'settle'] as const)[Math.floor(fate / 0.05)]
    const mortal = {
      queue,
      message,
      deliveryCount: delivery.deliveryCount,
      delayMs: 0,
      ack: async (effects: Parameters<typeof delivery.ack>[0]) => {
        this.#die('store')
        if (this.#isApart && this.#deathAt === 'send') {
          await this.#broker.publish(effects?.publish ?? [])
          this.#die('send')
        }
        await delivery.ack(effects)
      },
      release: delivery.release.bind(delivery),
      reject: delivery.reject.bind(delivery),
      extend: delivery.extend.bind(delivery),
    }
    const settled = { delivery: mortal, message: attempt.message, attempt: { ...attempt, delivery: mortal } }
    const { producer, results } = this
    const parts = { broker: this.#broker, results, producer, clock: this.#clock, worker: 'w' }
    try {
      await settle(settled, outcome, parts)
    } catch (error) {
      if (!(error instanceof Death)) throw error
      await delivery.release()
    }
    this.#deathAt = undefined
  }

  #die(at: Step): void {
    if (this.#deathAt !== at) return
    this.#deathAt = undefined
    throw new Death()
  }

  /** A store that dies with the worker, and that looks after its joins. */
  #watched(store: MemoryResultStore): ResultStore {
    const join: ResultStore['join'] = async (groupId, change) => {
      const progress = await store.join(groupId, change)
      if (progress.parts !== undefined) {
        expect(new Set(progress.parts.map(({ memberId }) => memberId)).size).toBe(progress.size)
      }
      if (change.part !== undefined) this.#die('join')
      return progress
    }
    const closeJoin: ResultStore['closeJoin'] = async (groupId) => {
      this.#die('settle')
      await store.closeJoin(groupId)
    }
    const sharesStorageWith = (): boolean => !this.#isApart
    const own: Partial<ResultStore> = { join, closeJoin, sharesStorageWith }
    return new Proxy(store, {
      get: (target, name) => {
        const replaced = own[name as keyof ResultStore]
        if (replaced !== undefined) return replaced
        const value = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }
}

class Death extends Error {}

it(
  `${trees} random canvases end as they should, whatever happens to messages and workers`,
  async () => {
    await fc.assert(
      fc.asyncProperty(tree, fc.nat(), async (tree, seed) => {
        fc.pre(hasTask(tree))
        const world = new World(seed)
        const sent = await world.producer.send(world.canvasOf(tree) as never)
        await world.runAll()

        const result = sent as unknown as GroupResult | { readonly id: string }
        const ids = result instanceof GroupResult ? result.ids : [result.id]
        const records = (await world.results.load(ids)) as ResultRecord[]
        const expected = interpret(tree, null)
        expect(records.map(({ status }) => status).filter((status) => !isReady(status))).toEqual([])
        const failed = records.find(({ status }) => status !== 'SUCCESS')
        expect(failed === undefined ? 'value' : 'error').toBe('value' in expected ? 'value' : 'error')
        if ('error' in expected) return
        expect(result instanceof GroupResult ? await result.get() : records[0]?.result).toEqual(expected.value)
      }),
      { numRuns: trees },
    )
  },
  600_000 + trees * 20,
)
