import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { LedgerProof, ledgerStream } from '../../api/audit.ts'
import type { KeptHeads } from '../../audit/checkpoints/kept-heads.ts'
import type { KnownKeys } from '../../audit/proofs/public-keys.ts'
import { checkSeal } from '../../audit/proofs/statements.ts'
import type { Finding } from '../../audit/verify/report.ts'
import { verifyLedgerLines } from '../../audit/verify/verify-ledger.ts'
import { download, downloadJson, type ServerOptions } from '../connection.ts'

export type VerifiedLedgers = {
  /** How many entries of each hold. */
  readonly lengths: Readonly<Record<string, number>>
  readonly findings: readonly Finding[]
}

/** Verifies the ledgers of a server, each against its proof. A server without any has none. */
export async function verifyLedgers(
  options: ServerOptions,
  keys: KnownKeys,
  kept: readonly KeptHeads[],
): Promise<Result<VerifiedLedgers, string>> {
  const proofs = await downloadJson(options, '/api/ledgers', z.array(LedgerProof))
  if (proofs.isErr() && proofs.error.code === 'not_found') return ok({ lengths: {}, findings: [] })
  if (proofs.isErr()) return err(proofs.error.message)
  const lengths: Record<string, number> = {}
  const findings: Finding[] = []
  for (const proof of proofs.value) {
    const got = await download(options, `/api/ledgers/${proof.ledger}`)
    if (got.isErr()) return err(got.error.message)
    const checked = await verifyLedger(proof, got.value, keys, kept)
    lengths[proof.ledger] = checked.length
    findings.push(...checked.findings)
  }
  return ok({ lengths, findings })
}

async function verifyLedger(
  proof: LedgerProof,
  body: AsyncIterable<Uint8Array>,
  keys: KnownKeys,
  kept: readonly KeptHeads[],
): Promise<{ readonly length: number; readonly findings: readonly Finding[] }> {
  const { ledger, length, head } = proof
  const where = `ledger ${ledger}`
  const findings: Finding[] = []
  if (checkSeal(proof, keys) !== 'good') {
    const message = `its proof is not signed by the key ${proof.key}, or that is not known`
    findings.push({ problem: 'signature', where, seq: null, message })
  }
  let signed = length === 0 ? head : null
  const { end, bad } = await verifyLedgerLines(ledger, body, (seq, hash) => {
    if (seq === length - 1) signed = hash
    for (const heads of kept) heads.see(ledgerStream(ledger), seq, hash)
  })
  if (bad !== null) findings.push({ ...bad, where })
  else if (signed === null) {
    const message = `${length} entries are signed, and it ends here`
    findings.push({ problem: 'missing', where, seq: end.length, message })
  } else if (signed !== head) {
    const message = `its hash is ${signed}, and ${head} is signed: all of it was written anew`
    findings.push({ problem: 'changed', where, seq: length - 1, message })
  }
  return { length: end.length, findings }
}
