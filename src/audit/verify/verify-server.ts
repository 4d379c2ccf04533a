import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { type Checkpoint, LedgerProof, PublishedKeys } from '../../api/audit.ts'
import {
  checkSeal,
  type KnownKeys,
  readKeys,
  type TrustAnchors,
} from '../../checkpoints/public-keys.ts'
import { messageOf } from '../../lib/message-of.ts'
import { linesOf, readLine } from '../bundle/record-lines.ts'
import { unpacked } from '../bundle/unpack.ts'
import { ledgerOf } from '../ledgers.ts'
import { LiveCheck, type LiveReport } from './live-report.ts'
import { finding } from './report.ts'
import {
  read,
  readCheckpoints,
  type ServerReader,
  shownByServer,
  withRuns,
} from './server-reader.ts'
import { verifyBundle } from './verify-bundle.ts'
import { CheckpointsCheck, rootFindings, type VerifiedCheckpoints } from './verify-checkpoints.ts'
import { type Demands, wantedBy } from './witness-check.ts'

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
    const runs = new RunsCheck({ server, check, anchors })
    const { latest, wanted } = checkpoints
    const named = [latest, wanted].flatMap((log) => [...(log?.heads.keys() ?? [])])
    // The oldest first: what a run says about its sub-agents was so before these are read.
    const ids = [...listed.toReversed(), ...named.filter((id) => ledgerOf(id) === null)]
    const seen = new Set<string>()
    for (let next = new Set(ids); next.size > 0; ) {
      for (const runId of next) yield* await runs.verify(runId)
      for (const runId of next) seen.add(runId)
      // Runs that others have started since the runs were listed.
      next = new Set(check.family.unseen().filter((runId) => !seen.has(runId)))
    }
    for (const proof of proofs) yield* await verifyLedger(server, check, proof, keys)
    const { artifacts, signers } = runs
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

type Given = {
  readonly server: ServerReader
  readonly check: LiveCheck
  readonly anchors: TrustAnchors
}

/** Verifies the runs of a server by their exports. */
class RunsCheck {
  readonly #given: Given
  readonly signers = new Set<string>()
  artifacts = 0

  constructor(given: Given) {
    this.#given = given
  }

  async verify(runId: string): Promise<Result<void, string>> {
    const { server, check, anchors } = this.#given
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
      return isNone ? ok() : err(message)
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
    this.artifacts += report.artifacts
    if (report.key !== null) this.signers.add(report.key)
    if (report.run_id !== null && report.run_id !== runId) {
      const message = `the server sends the run ${report.run_id} instead`
      check.findings.push(finding('unexpected', where, message))
    }
    for (const each of report.findings) {
      check.findings.push({ ...each, where: `${where}, ${each.where}` })
      if (each.seq === report.verified) check.seeBreak(runId)
    }
    return ok()
  }
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
