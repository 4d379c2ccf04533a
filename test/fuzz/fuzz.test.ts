import { expect, test } from 'vitest'
import { fuzzServer } from './server.ts'

const REQUESTS = 5000
/** The same requests each time; `npm run fuzz` makes others. */
const SEED = 20_261_126

test('every answer of the API fits its description, whatever the request is', async () => {
  const report = await fuzzServer(SEED, (index) => index >= REQUESTS)
  expect(report.requests).toBe(REQUESTS)
  // Some requests pass the validation.
  for (const status of ['200', '201', '401', '403', '404', '422']) {
    expect(report.statuses[status] ?? 0, status).toBeGreaterThan(10)
  }
}, 600_000)
