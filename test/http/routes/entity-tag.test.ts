import { expect, test } from 'vitest'
import type { Redactions } from '../../../src/http/deps.ts'
import { entityTag } from '../../../src/http/routes/runs.ts'

const redacted = (count: number, isPending: boolean): Redactions =>
  ({
    ofRun: () => Array.from({ length: count }),
    isPending: () => isPending,
  }) as unknown as Redactions

test('while a redaction is carried out, an answer that may still hold the text has a tag of its own', () => {
  expect(entityTag('7', ['run'], redacted(0, false))).toBe('"7"')
  const [during, after] = [true, false].map((is) => entityTag('7', ['run'], redacted(1, is)))
  expect(during).not.toBe(after)
  expect(after).toBe('"7-r1"')
})
