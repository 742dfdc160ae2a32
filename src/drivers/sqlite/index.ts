/** The embedded driver: broker, bus, results and locks in one SQLite file, shared by any number of processes. */
export { SqliteBroker, sqliteCapabilities } from './broker.ts'
export { SqliteBus } from './bus.ts'
export { SqliteLock } from './lock.ts'
export { SqliteResultStore } from './result-store.ts'
export type { Durability } from './schema.ts'
export { SqliteStore, type SqliteStoreOptions } from './store.ts'
