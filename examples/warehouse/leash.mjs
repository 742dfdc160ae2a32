/**
 * Loaded into each worker before anything else: ends it gracefully when the process that started it is gone, however
 * that went. Without it, workers would outlive a `kill -9` of `npm start` and keep taking orders.
 */
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
// Listening must not keep alive a worker that wants to end.
process.channel?.unref()
