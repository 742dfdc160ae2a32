/**
 * The reference driver: everything in the memory of one process, for tests and for work that may be lost with it. Read
 * it first to learn what a driver does; it is the plainest reading of the contracts.
 */
export { MemoryBroker, memoryCapabilities } from './broker.ts'
export { MemoryBus } from './bus.ts'
export { MemoryLimiter } from './limiter.ts'
export { MemoryLock } from './lock.ts'
export { MemoryResultStore } from './result-store.ts'
export { MemoryScheduleStore } from './schedule-store.ts'
export { type MemoryOptions, MemoryStore, memoryStore } from './store.ts'
