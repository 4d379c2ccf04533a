import { defineConfig } from 'vitest/config'

/** `npm run test:live` calls real providers and costs money, so `npm test` does not include it. */
export default defineConfig({
  test: {
    include: ['test/live/providers.ts'],
    setupFiles: ['test/support/valid-requests.ts'],
    testTimeout: 120_000,
    maxConcurrency: 4,
  },
})
