import type { LedgerName } from '../../src/api/audit.ts'
import { linesOf, readLine } from '../../src/audit/bundle/record-lines.ts'
import { LedgersCheck } from '../../src/audit/ledgers.ts'
import type { Finding } from '../../src/audit/verify/report.ts'
import type { KnownKeys } from '../../src/checkpoints/public-keys.ts'

/**
 * Verifies the lines of a ledger.
 * @param most how many entries nobody has signed, by a checkpoint
 */
export async function verifiedLedger(
  name: LedgerName,
  body: AsyncIterable<Uint8Array>,
  keys: KnownKeys,
  most?: number,
): Promise<{ readonly length: number; readonly head: string; readonly bad: Finding | null }> {
  const check = new LedgersCheck(keys)
  let head = '0'.repeat(64)
  for await (const texts of linesOf(body)) {
    for (const text of texts) head = check.take(name, readLine(text, 'checksummed'))?.head ?? head
  }
  const unsigned = { access: 0, redactions: 0, tokens: 0, ...(most && { [name]: most }) }
  const { findings } = check.report(most === undefined ? undefined : unsigned)
  return { length: check.lengthOf(name), head, bad: findings[0] ?? null }
}
