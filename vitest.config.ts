import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const src = fileURLToPath(new URL('./src/', import.meta.url))

export default defineConfig({
  resolve: {
    // Tests import the package by its public names and run its sources.
    alias: [
      { find: /^celeriac$/, replacement: `${src}index.ts` },
      { find: /^celeriac\/testing$/, replacement: `${src}testing/index.ts` },
      { find: /^celeriac\/(memory|sqlite|redis|rabbitmq)$/, replacement: `${src}drivers/$1/index.ts` },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/servers/global-setup.ts'],
    // Tests wait for conditions, not for time: a limit that is reached means something hangs.
    testTimeout: 30_000,
    // The first hook of a run that asks for RabbitMQ waits for it to start.
    hookTimeout: 120_000,
    teardownTimeout: 10_000,
    // A process per file: tests kill workers, fill disks' worth of files and load native code.
    pool: 'forks',
    // One more than cores: much of what they do is waiting.
    maxWorkers: 3,
  },
})
