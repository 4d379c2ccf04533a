import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, LedgerProof, ledgerStream, RunHead } from '../../api/audit.ts'
import type { RunSummary } from '../../api/runs.ts'
import { linesOf } from '../../audit/bundle/record-lines.ts'
import { KeptHeads } from '../../audit/checkpoints/run-heads.ts'
import type { KnownKeys } from '../../audit/proofs/public-keys.ts'
import { checkSeal } from '../../audit/proofs/statements.ts'
import type { Finding, LedgerSeals } from '../../audit/verify/report.ts'
import {
  countSigner,
  linkFinding,
  rootFinding,
  sealFinding,
} from '../../audit/verify/verify-checkpoints.ts'
import {
  sealsOf,
  unsignedEntry,
  type VerifiedLedger,
  verifyLedgerLines,
} from '../../audit/verify/verify-ledger.ts'
import { keptFindings } from '../../audit/verify/verify-store.ts'
import {
  connect,
  type DownloadFailure,
  download,
  downloadJson,
  type ServerOptions,
} from '../connection.ts'

export type VerifiedLedgers = {
  /** The number of entries that hold, by the name of the ledger. */
  readonly lengths: Readonly<Record<string, number>>
  readonly seals: LedgerSeals
  readonly findings: readonly Finding[]
}

/** Verifies the ledgers of a server, each with its proof. An old server has no ledgers. */
export async function verifyLedgers(
  options: ServerOptions,
  keys: KnownKeys,
  { heads, compared: [latest] }: ReadCheckpoints,
): Promise<Result<VerifiedLedgers, string>> {
  const proofs = await downloadJson(options, '/api/ledgers', z.array(LedgerProof))
  if (proofs.isErr() && proofs.error.code === 'not_found') {
    return ok({ lengths: {}, seals: {}, findings: [] })
  }
  if (proofs.isErr()) return err(proofs.error.message)
  const ledgers = new Map<string, VerifiedLedger>()
  const findings: Finding[] = []
  for (const proof of proofs.value) {
    const got = await download(options, `/api/ledgers/${proof.ledger}`)
    if (got.isErr()) return err(got.error.message)
    const most = latest?.unsigned_entries?.[proof.ledger]
    const checked = await verifyLedger(proof, got.value, { keys, heads, most })
    ledgers.set(proof.ledger, checked.end)
    findings.push(...checked.findings)
  }
  const lengths = Object.fromEntries([...ledgers].map(([name, { length }]) => [name, length]))
  return ok({ lengths, seals: sealsOf(ledgers), findings })
}

async function verifyLedger(
  proof: LedgerProof,
  body: AsyncIterable<Uint8Array>,
  {
    keys,
    heads: kept,
    most,
  }: {
    readonly keys: KnownKeys
    readonly heads: readonly KeptHeads[]
    readonly most: number | undefined
  },
): Promise<{ readonly end: VerifiedLedger; readonly findings: readonly Finding[] }> {
  const { ledger, length, head } = proof
  const where = `ledger ${ledger}`
  const findings: Finding[] = []
  if (checkSeal(proof, keys) !== 'good') {
    const message = `its proof is not signed by the key ${proof.key}, or the key is not known`
    findings.push({ problem: 'signature', where, seq: null, message })
  }
  let signed = length === 0 ? head : null
  const { end, bad } = await verifyLedgerLines(ledger, body, keys, (seq, hash) => {
    if (seq === length - 1) signed = hash
    for (const heads of kept) heads.see(ledgerStream(ledger), seq, hash)
  })
  if (bad !== null) findings.push({ ...bad, where })
  else if (signed === null) {
    const message = `${length} entries are signed, and the ledger ends here`
    findings.push({ problem: 'missing', where, seq: end.length, message })
  } else if (signed !== head) {
    const message = `its hash is ${signed}, and ${head} is signed: the whole ledger was rewritten`
    findings.push({ problem: 'changed', where, seq: length - 1, message })
  }
  const forged = bad === null ? unsignedEntry(end, most) : null
  if (forged !== null) findings.push({ ...forged, where })
  return { end, findings }
}

export type ReadCheckpoints = {
  readonly heads: readonly KeptHeads[]
  readonly runIds: ReadonlySet<string>
  readonly compared: readonly Checkpoint[]
  /** Those of the checkpoint that the reader kept, if the server has it. */
  readonly kept: KeptHeads | null
  readonly signed: ReadonlyMap<string, number>
  readonly findings: readonly Finding[]
}

/** Reads the chain of checkpoints, and the runs of the last one and of the one that the reader kept. */
export async function readCheckpoints(
  options: ServerOptions,
  kept: Checkpoint | null,
  keys: KnownKeys,
): Promise<Result<ReadCheckpoints, string>> {
  const findings: Finding[] = []
  const signed = new Map<string, number>()
  let latest: Checkpoint | null = null
  let wanted: Checkpoint | null = null
  for (;;) {
    const after: number = latest?.number ?? -1
    const path = `/api/checkpoints?limit=1000&after=${after}`
    const page = await downloadJson(options, path, z.array(Checkpoint))
    if (page.isErr()) return err(page.error.message)
    for (const checkpoint of page.value) {
      if (checkpoint.number <= (latest?.number ?? -1)) {
        return err(`The server sends checkpoint ${checkpoint.number} after ${latest?.number}.`)
      }
      countSigner(signed, checkpoint)
      const found = [sealFinding(checkpoint, keys), linkFinding(latest, checkpoint)]
      findings.push(...found.filter((each) => each !== null))
      if (checkpoint.number === kept?.number) wanted = checkpoint
      latest = checkpoint
    }
    if (page.value.length === 0) break
  }
  const asWanted = wanted && { checkpoint: wanted, revision: 0, heads: new Map(), pending: [] }
  findings.push(...keptFindings(kept, { wanted: asWanted }, (each) => sealFinding(each, keys)))
  const compared = await compare(options, findings, [
    ...(latest === null ? [] : [{ checkpoint: latest, name: 'the last checkpoint of the server' }]),
    ...(kept === null ? [] : [{ checkpoint: kept, name: 'the checkpoint that you kept' }]),
  ])
  return compared.map((found) => {
    const isWhole = kept !== null && found.heads.length === found.compared.length
    return { ...found, signed, kept: isWhole ? (found.heads.at(-1) ?? null) : null }
  })
}

async function compare(
  options: ServerOptions,
  findings: Finding[],
  sources: readonly { readonly checkpoint: Checkpoint; readonly name: string }[],
): Promise<Result<Omit<ReadCheckpoints, 'signed' | 'kept'>, string>> {
  const heads: KeptHeads[] = []
  const ids = new Set<string>()
  for (const { checkpoint, name } of sources) {
    const runs = await runsOf(options, checkpoint)
    if (runs.isErr() && runs.error.code === 'checkpoint_not_found') continue
    if (runs.isErr()) return err(runs.error.message)
    const wrong = rootFinding(checkpoint, runs.value.values())
    if (wrong !== null) findings.push(wrong)
    heads.push(new KeptHeads(runs.value, name))
    for (const runId of runs.value.keys()) ids.add(runId)
  }
  return ok({ heads, runIds: ids, compared: sources.map((each) => each.checkpoint), findings })
}

async function runsOf(
  options: ServerOptions,
  { number }: Checkpoint,
): Promise<Result<Map<string, RunHead>, DownloadFailure>> {
  const got = await download(options, `/api/checkpoints/${number}/runs`)
  if (got.isErr()) return err(got.error)
  const heads = new Map<string, RunHead>()
  try {
    for await (const text of linesOf(got.value)) {
      const head = RunHead.parse(JSON.parse(text ?? ''))
      heads.set(head.run_id, head)
    }
    return ok(heads)
  } catch (cause) {
    return err({ code: null, message: `The runs of a checkpoint cannot be read: ${String(cause)}` })
  }
}

/** The list of runs of the server, by id. */
export async function listedRuns(
  options: ServerOptions,
): Promise<Result<ReadonlyMap<string, RunSummary>, string>> {
  const connection = connect(options)
  if (connection.isErr()) return err(connection.error)
  const { client, explain } = connection.value
  const runs = new Map<string, RunSummary>()
  for (let cursor: string | undefined; ; ) {
    const page = await client.runs.list({ limit: 1000, cursor })
    if (page.isErr()) return err(explain(page.error))
    const before = runs.size
    for (const run of page.value.runs) runs.set(run.run_id, run)
    if (page.value.next === null) return ok(runs)
    if (runs.size === before) return err('The server lists the same runs again and again.')
    cursor = page.value.next
  }
}
