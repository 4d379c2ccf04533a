import { randomUUID } from 'node:crypto'
import type { Checkpoint } from '../../src/api/audit.ts'

const LOG = randomUUID()

/** A checkpoint that nobody has signed. */
export const checkpoint = (number: number, log_id = LOG): Checkpoint => ({
  type: 'retrai.checkpoint.v1',
  log_id,
  number,
  runs: 1,
  root: 'a'.repeat(64),
  previous: '0'.repeat(64),
  signed_at: '2026-02-18T12:00:00.000Z',
  key: 'b'.repeat(64),
  signature: 'c'.repeat(128),
})
