/** The embedded driver: broker, bus, results, locks and limits in one SQLite file, shared by any number of processes. */
export { SqliteBroker, sqliteCapabilities } from './broker.ts'
export { SqliteBus } from './bus.ts'
export { SqliteLimiter } from './limiter.ts'
export { SqliteLock } from './lock.ts'
export { SqliteResultStore } from './result-store.ts'
export { SqliteScheduleStore } from './schedule-store.ts'
export type { Durability } from './schema.ts'
export { SqliteStore, type SqliteStoreOptions } from './store.ts'
