import { err, ok, type Result } from 'neverthrow'
import type { Checkpoint, RunHead } from '../../api/audit.ts'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import { uuidOfHash } from '../../log/chain.ts'
import { streamOf } from '../../log/run-log.ts'
import type { LogPages, StreamReader } from '../../log/stream-pages.ts'
import type { CheckpointLog } from '../checkpoints/checkpoint-stream.ts'
import {
  type KeptBeside,
  type KeptCheckpoint,
  NOTHING_KEPT,
} from '../checkpoints/kept-checkpoints.ts'
import { KeptHeads, subjectOf } from '../checkpoints/run-heads.ts'
import { ledgerOf } from '../ledgers.ts'
import type { KnownKeys } from '../proofs/public-keys.ts'
import { checkpointHash } from '../proofs/statements.ts'
import type { ContentsPool } from './contents-pool.ts'
import type { Projected } from './projected-runs.ts'
import { redactedSince } from './redaction-check.ts'
import type { CheckpointSigner, Finding, ReportedRedaction } from './report.ts'
import {
  lostFinding,
  sealFinding,
  signersOf,
  unreadableFinding,
  type VerifiedCheckpoints,
  verifyCheckpoints,
} from './verify-checkpoints.ts'
import { type LogReport, verifyLog } from './verify-log.ts'

export type VerifiableStore = {
  readonly reader: StreamReader
  /** Read once, after the checkpoints. */
  pages(): LogPages
  readonly artifacts: ArtifactSource
  readonly keys: KnownKeys
  /** What a read model held of the same log before it was read; null without a read model. */
  readonly projected: Projected | null
  /** The checkpoints in files beside the log. */
  readonly beside?: KeptBeside
  /** The names of the artifacts that are stored for this log alone, beside those in the log. */
  readonly stored?: Iterable<string>
  /** What is in the file of the log and is not of a server, as sentences without their points. */
  readonly foreign?: readonly string[]
  /** Without it, one thread does everything. */
  readonly pool?: ContentsPool
}

export type StoreReport = LogReport & {
  /** The last checkpoint of the log, and the kept one if the log has it. */
  readonly compared: readonly Checkpoint[]
  readonly signers: readonly CheckpointSigner[]
  /** What was redacted after the kept checkpoint; null if the log does not have that. */
  readonly redacted_since: readonly ReportedRedaction[] | null
}

/** Verifies all runs and ledgers of a store, and compares them with its checkpoints and its read model. */
export async function verifyStore(
  { reader, pages, artifacts, keys, ...options }: VerifiableStore,
  kept: Checkpoint | null = null,
): Promise<Result<StoreReport, string>> {
  const { beside = NOTHING_KEPT, foreign = [] } = options
  const checked = await verifyCheckpoints(reader, keys, {
    wanted: kept?.number ?? null,
    kept: beside.kept,
  })
  if (checked.isErr()) return err(checked.error.message)
  const { latest, wanted } = checked.value
  const sources: (CheckpointLog & { readonly name: string })[] = [
    ...(latest === null ? [] : [{ ...latest, name: 'the last checkpoint of this log' }]),
    ...(wanted === null ? [] : [{ ...wanted, name: 'the checkpoint that you kept' }]),
  ]
  const heads = sources.map((source) => new KeptHeads(source.heads, source.name))
  const verified = await verifyLog(pages(), artifacts, heads, {
    ...{ ...options, reader, keys: checked.value.keys },
    unsigned: (latest ?? wanted)?.checkpoint?.unsigned_entries,
  })
  if (verified.isErr()) return err(verified.error.message)
  const findings = [
    ...verified.value.findings,
    ...checked.value.findings,
    ...checked.value.lost.map(lostFinding),
    ...beside.unreadable.map(unreadableFinding),
    ...foreign.map(foreignFinding),
    ...keptFindings(kept, checked.value, (checkpoint) =>
      sealFinding(checkpoint, checked.value.keys),
    ),
  ]
  const compared = sources.flatMap(({ checkpoint }) => checkpoint ?? [])
  return ok({
    ...verified.value,
    findings,
    compared,
    redacted_since: redactedSince(wanted && heads.at(-1), verified.value.redacted),
    signers: signersOf(checked.value.signed, keys),
  })
}

/** Where a finding is that is about the file of the log. */
const LOG_FILE = 'log.sqlite'

const foreignFinding = (message: string): Finding => ({
  problem: 'unexpected',
  where: LOG_FILE,
  seq: null,
  message,
})

/** What is wrong if the log should still have a checkpoint that somebody has kept. */
export function keptFindings(
  kept: Checkpoint | null,
  { wanted }: Pick<VerifiedCheckpoints, 'wanted'>,
  seal: (checkpoint: Checkpoint) => Finding | null,
): Finding[] {
  if (kept === null) return []
  const where = `checkpoint ${kept.number}`
  const sealed = seal(kept)
  if (sealed !== null) return [sealed]
  if (!wanted?.checkpoint) {
    return [
      { problem: 'missing', where, seq: null, message: 'the store does not have it any more' },
    ]
  }
  if (checkpointHash(wanted.checkpoint) === checkpointHash(kept)) return []
  const message = 'the store has another checkpoint under this number'
  return [{ problem: 'changed', where, seq: null, message }]
}

/** Concurrent reads: enough to keep the store busy, few enough to leave it room for others. */
const AT_ONCE = 8

/**
 * Verifies the checkpoints, and that each run and ledger in the last one is in the log with the record that it names.
 * Reads only the id of one event of each, because ids are made from hashes.
 * @param kept the checkpoints beside the log
 * @returns what is wrong, apart from the checkpoints that the log does not have: these are `lost`
 */
export async function verifyHeads(
  store: StreamReader,
  keys: KnownKeys,
  kept: readonly KeptCheckpoint[],
): Promise<Result<{ findings: Finding[]; lost: readonly KeptCheckpoint[] }, string>> {
  const checked = await verifyCheckpoints(store, keys, { roots: 'last', kept })
  if (checked.isErr()) return err(checked.error.message)
  const { latest, lost } = checked.value
  const findings = [...checked.value.findings]
  const heads = [...(latest?.heads.values() ?? [])]
  for (let from = 0; from < heads.length; from += AT_ONCE) {
    const some = heads.slice(from, from + AT_ONCE)
    for (const found of await Promise.all(some.map((head) => headFinding(store, head)))) {
      if (found.isErr()) return err(found.error)
      if (found.value !== null) findings.push(found.value)
    }
  }
  return ok({ findings, lost })
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
  // A store may know the name of a stream without events.
  const first = read.isOk() && read.value.length === 0 ? await firstOf(store, stream) : read
  if (first.isErr() && first.error.type !== 'stream_not_found') return err(first.error.message)
  const finding = (problem: Finding['problem'], message: string) =>
    ok({ problem, where: subjectOf(run_id), seq: length - 1, message })
  if (read.isErr() || first.unwrapOr([]).length === 0) {
    return finding('missing', 'a checkpoint names it, and it does not exist now: it was dropped')
  }
  const [event] = read.value
  if (event === undefined) {
    const message = `it had ${length} records in the last checkpoint, and has fewer now: its end was cut off`
    return finding('missing', message)
  }
  if (event.id === uuidOfHash(head)) return ok(null)
  return finding('changed', 'this is not the record that the last checkpoint names')
}
