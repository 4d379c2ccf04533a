import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { type Checkpoint, LedgerProof, PublishedKeys } from '../../api/audit.ts'
import { RunDetails, type RunSummary } from '../../api/runs.ts'
import {
  checkSeal,
  type KnownKeys,
  readKeys,
  type TrustAnchors,
} from '../../checkpoints/public-keys.ts'
import type { RunState } from '../../domain/state.ts'
import { messageOf } from '../../lib/message-of.ts'
import { canonicalText } from '../../log/commitment.ts'
import { linesOf, readLine } from '../bundle/record-lines.ts'
import { unpacked } from '../bundle/unpack.ts'
import { ledgerOf } from '../ledgers.ts'
import { READ_MODEL } from './beside-log.ts'
import { LiveCheck, type LiveReport } from './live-report.ts'
import { finding } from './report.ts'
import {
  read,
  readCheckpoints,
  type ServerReader,
  shownByServer,
  withRuns,
} from './server-reader.ts'
import { CheckpointsCheck, rootFindings, type VerifiedCheckpoints } from './verify-checkpoints.ts'
import { verifyFolded } from './verify-store.ts'
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
    const runs = new RunsCheck({ server, check, anchors, listed })
    const { latest, wanted } = checkpoints
    const named = [latest, wanted].flatMap((log) => [...(log?.heads.keys() ?? [])])
    // The oldest first: what a run says about its sub-agents was so before these are read.
    const ids = [...[...listed.keys()].reverse(), ...named.filter((id) => ledgerOf(id) === null)]
    const seen = new Set<string>()
    for (let next = new Set(ids); next.size > 0; ) {
      for (const runId of next) yield* await runs.verify(runId)
      for (const runId of next) seen.add(runId)
      // Runs that others have started since the runs were listed.
      next = new Set(check.family.unseen().filter((runId) => !seen.has(runId)))
    }
    for (const proof of proofs) yield* await verifyLedger(server, check, proof, keys)
    const { artifacts, answers: read_model, signers } = runs
    return ok(check.report({ wanted: reader, own, signers, artifacts, read_model }))
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
  readonly listed: ReadonlyMap<string, RunSummary>
}

/** Verifies the runs of a server by their exports, and compares what it answers about each with its records. */
class RunsCheck {
  readonly #given: Given
  readonly signers = new Set<string>()
  artifacts = 0
  /** How many runs were compared with what the server answers about them. */
  answers = 0

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
    const { report, folded } = await verifyFolded(unpacked(got.value), {
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
    return report.holds && folded !== null ? this.#compare(folded.state) : ok()
  }

  /** Compares the answers of the server about a run, which come from its read model, with the records. */
  async #compare(state: RunState): Promise<Result<void, string>> {
    const { runId, seq } = state
    const { server, check, listed: all } = this.#given
    const got = await server.json(`/api/runs/${runId}`, RunDetails)
    // It may have been removed since its export.
    if (got.isErr() && got.error.code === 'run_removed') return ok()
    if (got.isErr() && got.error.code !== 'run_not_found') return err(got.error.message)
    this.answers += 1
    const expected = server.detailsOf(state)
    const find = (problem: string) =>
      check.findings.push(finding('changed', READ_MODEL, `run ${runId}: the ${problem}`))
    if (got.isErr()) find('server answers that there is no such run')
    else {
      // Whether its origin was redacted, it is on hold, or has other tags now, is not in its own records.
      const { progress, origin_redacted: __, hold: ___, ...answered } = got.value
      const rest = { ...answered, tags: expected.tags }
      // Of a sub-agent, not only the records of the run itself say something.
      const { subagent: _, ...own } = progress
      // A run may have continued since the export, but it cannot go back.
      if (own.seq < seq) find(`server knows of no record after ${own.seq}`)
      const isSame = canonicalText({ ...rest, progress: own }) === canonicalText(expected)
      if (own.seq === seq && !isSame) find('answer of the server does not match the records')
    }
    const listed = all.get(runId)
    if (listed === undefined) {
      const isNew = all.size === 0 || state.phase.type !== 'ended'
      if (!isNew) find('server does not list it')
    } else if (listed.goal !== expected.goal || listed.created_at !== expected.created_at) {
      find('list of runs does not match the records')
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
