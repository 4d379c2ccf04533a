import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, LedgerProof, PublishedKeys, RunHead } from '../../api/audit.ts'
import { LogState } from '../../api/log.ts'
import type { CheckpointLog } from '../../checkpoints/checkpoint-stream.ts'
import {
  checkSeal,
  type KnownKeys,
  readKeys,
  type TrustAnchors,
} from '../../checkpoints/public-keys.ts'
import type { CosignedNote } from '../../checkpoints/witness/cosignatures.ts'
import { messageOf } from '../../lib/message-of.ts'
import { readTreeNote } from '../../lib/note-check.ts'
import { linesOf, readLine } from '../bundle/record-lines.ts'
import { unpacked } from '../bundle/unpack.ts'
import { ledgerOf } from '../ledgers.ts'
import { LiveCheck, type LiveReport } from './live-report.ts'
import type { TrustedWitnesses } from './log-check.ts'
import { type BundleReport, finding } from './report.ts'
import { verifyBundle } from './verify-bundle.ts'
import { CheckpointsCheck, rootFindings, type VerifiedCheckpoints } from './verify-checkpoints.ts'
import { type Demands, type Shown, wantedBy } from './witness-check.ts'

/** Why a server did not give something: `code` of its problem; null if it sent no problem document. */
type ServerFailure = { readonly code: string | null; readonly message: string }

/** What verification reads of a server. Errors are sentences for people. */
export type ServerReader = {
  /** @param path begins with a slash */
  json<T>(path: string, schema: z.ZodType<T>): Promise<Result<T, ServerFailure>>
  stream(path: string): Promise<Result<Readable, ServerFailure>>
  /** The ids of all runs that the server lists, newest first. */
  runs(): Promise<Result<readonly string[], string>>
}

/** Verifies all runs of a server by their exports, its ledgers, and its checkpoints. */
export function verifyServer(
  server: ServerReader,
  demands: Demands = {},
): ResultAsync<LiveReport, string> {
  return safeTry(async function* () {
    const reader = yield* await wantedBy(demands, (trusted) => shownByServer(server, trusted))
    const { anchors, kept } = reader
    const chain = yield* await readCheckpoints(server)
    const proofs = yield* await read(server, '/api/ledgers', z.array(LedgerProof))
    // Only now: another server that joins the log meanwhile publishes its key before it signs anything.
    const own = yield* readKeys(yield* await read(server, '/api/keys', PublishedKeys))
    const inLog = yield* readKeys(yield* await read(server, '/api/keys?all=true', PublishedKeys))
    const keys = new Map([...inLog, ...own, ...anchors.keys])
    const checkpoints = yield* await verifyChain(server, chain, kept, keys)
    const check = new LiveCheck(checkpoints, 'the server')
    const listed = yield* await server.runs()
    const { latest, wanted } = checkpoints
    const named = [latest, wanted].flatMap((log) => [...(log?.heads.keys() ?? [])])
    // The oldest first: what a run says about its sub-agents was so before these are read.
    const ids = [...listed.toReversed(), ...named.filter((id) => ledgerOf(id) === null)]
    const seen = new Set<string>()
    const signers = new Set<string>()
    let artifacts = 0
    for (let next = new Set(ids); next.size > 0; ) {
      for (const runId of next) {
        const report = yield* await verifyRun(server, check, anchors, runId)
        artifacts += report?.artifacts ?? 0
        if (report?.key) signers.add(report.key)
        seen.add(runId)
      }
      // Runs that others have started since the runs were listed.
      next = new Set(check.family.unseen().filter((runId) => !seen.has(runId)))
    }
    for (const proof of proofs) yield* await verifyLedger(server, check, proof, keys)
    return ok(check.report({ wanted: reader, signers, artifacts, read_model: null }))
  })
}

/** Verifies the chain of checkpoints, and the runs of the last one and of the one that the reader kept. */
async function verifyChain(
  server: ServerReader,
  chain: readonly Checkpoint[],
  kept: Checkpoint | null,
  keys: KnownKeys,
): Promise<Result<VerifiedCheckpoints, string>> {
  const check = new CheckpointsCheck(keys, kept)
  for (const checkpoint of chain) check.take({ checkpoint, heads: new Map(), keys: [] })
  const { findings, ...checked } = check.finish()
  return safeTry(async function* () {
    const latest = yield* await withRuns(server, checked.latest)
    const wanted = yield* await withRuns(server, checked.wanted)
    const roots = await rootFindings(latest, wanted)
    return ok({ ...checked, latest, wanted, findings: [...findings, ...roots] })
  })
}

/** Verifies a run by its export; null if the server has none. What is found is in `check`. */
async function verifyRun(
  server: ServerReader,
  check: LiveCheck,
  anchors: TrustAnchors,
  runId: string,
): Promise<Result<BundleReport | null, string>> {
  const where = `run ${runId}`
  const got = await server.stream(`/api/runs/${runId}/export`)
  if (got.isErr()) {
    const { code, message } = got.error
    if (code === 'damaged_record') {
      check.findings.push(finding('unreadable', where, message))
      check.seeBreak(runId)
    }
    // If a run is gone, the checkpoint that names it reports that, unless the ledger says that it was removed.
    const isNone = ['damaged_record', 'run_not_found', 'run_removed'].includes(code ?? '')
    return isNone ? ok(null) : err(message)
  }
  const report = await verifyBundle(unpacked(got.value), {
    anchors,
    family: check.family,
    onRecord: (record) => check.see(record),
  })
  // A server breaks an export off if it cannot read the rest of it. That is not a finding about the run.
  const { errored } = got.value
  if (errored !== null) return err(`The export of run ${runId} broke off: ${messageOf(errored)}.`)
  check.seeRun(runId)
  if (report.run_id !== null && report.run_id !== runId) {
    const message = `the server sends the run ${report.run_id} instead`
    check.findings.push(finding('unexpected', where, message))
  }
  for (const each of report.findings) {
    check.findings.push({ ...each, where: `${where}, ${each.where}` })
    if (each.seq === report.verified) check.seeBreak(runId)
  }
  return ok(report)
}

/** Verifies a ledger up to its signed end. */
async function verifyLedger(
  server: ServerReader,
  check: LiveCheck,
  proof: LedgerProof,
  keys: KnownKeys,
): Promise<Result<void, string>> {
  const { ledger, length, head, key } = proof
  const { ledgers, findings } = check
  const got = await server.stream(`/api/ledgers/${ledger}`)
  if (got.isErr()) return err(got.error.message)
  let signed = length === 0 ? proof.head : null
  for await (const texts of linesOf(got.value)) {
    for (const text of texts) {
      if (ledgers.lengthOf(ledger) >= length) break
      const entry = check.takeEntry(ledger, readLine(text, 'checksummed'))
      if (entry?.length === length) signed = entry.head
    }
  }
  const where = `ledger ${ledger}`
  if (checkSeal(proof, keys) !== 'good') {
    const message = `its proof is not signed by the key ${key}, or the key is not known`
    findings.push(finding('signature', where, message))
  }
  if (ledgers.isBad(ledger) || signed === head) return ok()
  if (signed !== null) {
    const message = `its hash is ${signed}, and ${head} is signed: the whole ledger was rewritten`
    findings.push(finding('changed', where, message, length - 1))
  } else {
    const message = `${length} entries are signed, not fewer`
    findings.push(finding('missing', where, message, ledgers.lengthOf(ledger)))
  }
  return ok()
}

/** What a server answers. */
const read = async <T>(
  server: ServerReader,
  path: string,
  schema: z.ZodType<T>,
): Promise<Result<T, string>> => (await server.json(path, schema)).mapErr(({ message }) => message)

/** All checkpoints of a server, oldest first. */
async function readCheckpoints(server: ServerReader): Promise<Result<Checkpoint[], string>> {
  const chain: Checkpoint[] = []
  for (;;) {
    const after = chain.at(-1)?.number ?? -1
    const path = `/api/checkpoints?limit=1000&after=${after}`
    const page = await read(server, path, z.array(Checkpoint))
    if (page.isErr()) return err(page.error)
    const [first] = page.value
    if (first === undefined) return ok(chain)
    if (first.number <= after) {
      return err(`The server sends checkpoint ${first.number} after ${after}.`)
    }
    chain.push(...page.value)
  }
}

/** The runs of a checkpoint, which the server gives apart from it. */
async function withRuns(
  server: ServerReader,
  log: CheckpointLog | null,
): Promise<Result<CheckpointLog | null, string>> {
  if (log === null) return ok(null)
  const got = await server.stream(`/api/checkpoints/${log.checkpoint.number}/runs`)
  if (got.isErr()) return err(got.error.message)
  const heads = new Map<string, RunHead>()
  try {
    for await (const texts of linesOf(got.value)) {
      for (const text of texts) {
        const head = RunHead.parse(JSON.parse(text ?? ''))
        heads.set(head.run_id, head)
      }
    }
    return ok({ ...log, heads })
  } catch (cause) {
    return err(`The runs of a checkpoint cannot be read: ${messageOf(cause)}`)
  }
}

/** What a server shows of its witnesses: its newest note, and those that the trusted ones have signed. */
const shownByServer = (
  server: ServerReader,
  { keys }: TrustedWitnesses,
): ResultAsync<Shown, string> =>
  safeTry(async function* () {
    const { size, witnesses } = yield* await read(server, '/api/log', LogState)
    const published = yield* await read(server, '/api/keys', PublishedKeys)
    const fingerprints = published.keys.map(({ fingerprint }) => fingerprint)
    const ofTrusted = witnesses.filter(({ name }) => keys.some((key) => key.name === name))
    const sizes = new Set([size, ...ofTrusted.flatMap((each) => each.size ?? [])])
    const notes: CosignedNote[] = []
    for (const each of sizes) {
      const got = await server.stream(`/api/log/checkpoint?size=${each}`)
      const note = readTreeNote(await text(yield* got.mapErr(({ message }) => message)))
      if (note === null) return err('The server answers with something else than a note.')
      notes.push({ ...note, keys: fingerprints })
    }
    // Read last, so that they reach as far as the notes.
    const checkpoints = yield* await readCheckpoints(server)
    const newest = checkpoints.filter(({ key }) => fingerprints.includes(key))[size - 1]
    return ok({ checkpoints, notes, newest })
  })
