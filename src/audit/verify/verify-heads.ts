import { err, ok, type Result } from 'neverthrow'
import type { Checkpoint, RunHead } from '../../api/audit.ts'
import { uuidOfHash } from '../../log/chain.ts'
import { streamOf } from '../../log/run-log.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import { subjectOf } from '../checkpoints/run-heads.ts'
import { ledgerOf } from '../ledgers.ts'
import type { KnownKeys } from '../proofs/public-keys.ts'
import type { Finding } from './report.ts'
import { verifyCheckpoints } from './verify-checkpoints.ts'
import { keptFindings } from './verify-store.ts'

/** Reads under way at once: enough to keep the store busy, few enough to leave it to others. */
const AT_ONCE = 8

/**
 * Whether the checkpoints hold, and each run and ledger that the last one names is in the log, with that
 * record. It reads one event of each, and not what is in it: ids are made of hashes.
 * @param kept the last checkpoint that was written, from outside of the log; null if that is not known
 */
export async function verifyHeads(
  store: StreamReader,
  keys: KnownKeys,
  kept: Checkpoint | null,
): Promise<Result<Finding[], string>> {
  const checked = await verifyCheckpoints(store, keys, kept?.number ?? null, 'last')
  if (checked.isErr()) return err(checked.error.message)
  const findings = [...checked.value.findings, ...keptFindings(kept, checked.value, () => null)]
  const heads = [...(checked.value.latest?.heads.values() ?? [])]
  for (let from = 0; from < heads.length; from += AT_ONCE) {
    const some = heads.slice(from, from + AT_ONCE)
    for (const found of await Promise.all(some.map((head) => headFinding(store, head)))) {
      if (found.isErr()) return err(found.error)
      if (found.value !== null) findings.push(found.value)
    }
  }
  return ok(findings)
}

const firstOf = (store: StreamReader, stream: string) =>
  store.readStream(stream, { from: 0, direction: 'forward', limit: 1 })

async function headFinding(
  store: StreamReader,
  { run_id, length, head }: RunHead,
): Promise<Result<Finding | null, string>> {
  const stream = ledgerOf(run_id) === null ? streamOf(run_id) : run_id
  const options = { from: length - 1, direction: 'forward', limit: 1 } as const
  const read = await store.readStream(stream, options)
  // A store may know the name of a stream that has no events.
  const first = read.isOk() && read.value.length === 0 ? await firstOf(store, stream) : read
  if (read.isErr() && read.error.type !== 'stream_not_found') return err(read.error.message)
  const finding = (problem: Finding['problem'], message: string) =>
    ok({ problem, where: subjectOf(run_id), seq: length - 1, message })
  if (read.isErr() || first.unwrapOr([]).length === 0) {
    return finding('missing', 'a checkpoint names it, and there is none now: it was dropped')
  }
  const [event] = read.value
  if (event === undefined) {
    const message = `it had ${length} records in the last checkpoint, and has fewer now: its end was cut off`
    return finding('missing', message)
  }
  if (event.id === uuidOfHash(head)) return ok(null)
  return finding('changed', 'this is not the record that the last checkpoint names')
}
