import { expect, test } from 'vitest'
import { fuzzServer } from './server.ts'

const REQUESTS = 5000
/** The same requests each time; `npm run fuzz` makes others. */
const SEED = 20_261_126

test('every answer of the API is as its description says, whatever is asked', async () => {
  const report = await fuzzServer(SEED, (index) => index >= REQUESTS)
  expect(report.requests).toBe(REQUESTS)
  // It has come behind the validation, and not only up to it.
  for (const status of ['200', '201', '401', '403', '404', '422']) {
    expect(report.statuses[status] ?? 0, status).toBeGreaterThan(10)
  }
}, 600_000)
