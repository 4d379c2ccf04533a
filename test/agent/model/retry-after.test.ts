import { expect, test } from 'vitest'
import { retryAfterMs } from '../../../src/agent/model/failures.ts'

const now = Date.UTC(2026, 1, 18, 12, 0, 0)

test.each([
  [{}, null],
  [{ 'retry-after': '7' }, 7000],
  [{ 'retry-after': '0.25' }, 250],
  [{ 'retry-after-ms': '1500', 'retry-after': '7' }, 1500],
  [{ 'retry-after': 'Wed, 18 Feb 2026 12:00:30 GMT' }, 30_000],
  [{ 'retry-after': 'Wed, 18 Feb 2026 11:00:00 GMT' }, 0],
  [{ 'retry-after': 'soon' }, null],
  [{ 'retry-after': '-3' }, 0],
])('reads %j as %s', (headers, expected) => {
  expect(retryAfterMs(new Headers(headers as Record<string, string>), now)).toBe(expected)
})
