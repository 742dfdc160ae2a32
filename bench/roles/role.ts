/** A role is what one measured process does, from opening its store to the figures it hands back. */
import type { Session, SideName, Store } from '../sides/side.ts'

export interface Environment {
  readonly side: SideName | 'raw'
  readonly store: Store
  readonly parent: {
    /** Tells the parent that everything is set up, and waits until it says go. */
    ready(): Promise<void>
  }
}

export type Role<P, R> = (environment: Environment, params: P) => Promise<R>

export async function openSession({ side, store }: Environment): Promise<Session> {
  switch (side) {
    case 'celeriac':
      return (await import('../sides/celeriac.ts')).openCeleriac(store)
    case 'bullmq':
      return (await import('../sides/bullmq.ts')).openBullMq(store)
    case 'bee-queue':
      return (await import('../sides/bee-queue.ts')).openBeeQueue(store)
    case 'celery-node':
      return (await import('../sides/celery-node.ts')).openCeleryNode(store)
    case 'celery':
      return (await import('../sides/celery.ts')).openCelery(store)
    case 'raw':
      throw new Error('the raw ceiling has roles of its own')
  }
}
