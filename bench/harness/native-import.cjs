/**
 * A plain `import()` that no TypeScript loader rewrites. What is measured (Celeriac's build, BullMQ, the SQLite binding)
 * must run exactly as it does in production; the benchmark's own code may pass through a loader.
 */
exports.nativeImport = (specifier) => import(specifier)
