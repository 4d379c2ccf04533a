/**
 * Exports a run of so many records, which are made up as they are read, verifies the archive as it
 * comes, and prints the most memory that it took, in MB. Argument: the number of records.
 */
import { createHash } from 'node:crypto'
import { errAsync, okAsync } from 'neverthrow'
import { exportRun, proveRun } from '../../src/audit/audit.ts'
import { unpacked } from '../../src/audit/bundle/unpack.ts'
import { verifyBundle } from '../../src/audit/verify/verify-bundle.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { GENESIS } from '../../src/log/chain.ts'
import { encode } from '../../src/log/codec.ts'
import { streamOf } from '../../src/log/run-log.ts'
import type { StreamReader } from '../../src/log/stream-pages.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { createdRecord } from '../support/run-records.ts'
import { NOW, newKeys } from './support.ts'

const RUN_ID = '550e8400-e29b-41d4-a716-446655440000'
const count = Number(process.argv[2])
const reason = 'x'.repeat(2_000)

function recordAt(seq: number): RunRecord {
  if (seq === 0) return createdRecord(RUN_ID)
  const payload = { attempt: seq, reason, delay_ms: 1 }
  return { kind: 'llm_retry', run_id: RUN_ID, iteration: 0, ts: 1_770_000_001, payload }
}

/** Always the same run, from its beginning on. */
function* events(): Generator<RecordedEvent> {
  let prev_hash = GENESIS
  for (let seq = 0; seq < count; seq += 1) {
    const salt = createHash('sha256').update(String(seq)).digest('hex').slice(0, 32)
    const { event, logged } = encode(seq, recordAt(seq), { command_id: 'c', salt, prev_hash })
    prev_hash = logged.meta.hash
    yield { ...event, stream: `run-${RUN_ID}`, revision: seq, position: '', created: 0 }
  }
}

let last: RecordedEvent | undefined
for (const event of events()) last = event
let reading = events()
const store: StreamReader = {
  readStream: (stream, { from, direction, limit }) => {
    if (stream !== streamOf(RUN_ID)) return errAsync({ type: 'stream_not_found', stream })
    if (direction === 'backward') return okAsync(last === undefined ? [] : [last])
    if (from === 0) reading = events()
    return okAsync(Array.from({ length: limit }, () => reading.next().value as RecordedEvent))
  },
}

const keys = await newKeys()
const proof = (await proveRun(store, RUN_ID, keys.signer, NOW))._unsafeUnwrap()
const artifacts = { read: async () => null }
const archive = (await exportRun({ store, artifacts, keys, now: NOW }, proof))._unsafeUnwrap()
const { holds, verified } = await verifyBundle(unpacked(archive))
if (!holds || verified !== count) throw new Error(`${verified} of ${count} records hold`)
console.log(Math.round(process.resourceUsage().maxRSS / 1024))
