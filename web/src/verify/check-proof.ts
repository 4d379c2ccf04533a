import * as z from 'zod'
import { PublishedKeys } from '../../../src/api/audit.ts'
import { hasSigned, knownKeys } from '../../../src/checkpoints/public-keys.ts'
import { canonicalText } from '../../../src/log/commitment.ts'
import type { ProofVerdict } from './protocol.ts'

/** Everything that is signed counts, including fields that a newer server may add. */
const Proof = z.looseObject({
  type: z.literal('retrai.run-proof.v1'),
  run_id: z.string(),
  length: z.int(),
  head: z.string(),
  policy_sha256: z.string().optional(),
  signed_at: z.string(),
  /** Proved by other signatures. */
  log: z.unknown(),
  key: z.string(),
  signature: z.string().regex(/^[0-9a-f]{128}$/),
})

/** Whether a server's proof of a run is signed by one of the keys that it publishes. */
export function checkProof(givenProof: unknown, givenKeys: unknown): ProofVerdict {
  try {
    const { signature, log: _, ...statement } = Proof.parse(givenProof)
    const key = knownKeys(PublishedKeys.parse(givenKeys)).get(statement.key)
    const good = key !== undefined && hasSigned(key, canonicalText(statement), signature)
    return {
      type: key === undefined ? 'unknown_key' : good ? 'good' : 'forged',
      runId: statement.run_id,
      length: statement.length,
      head: statement.head,
      policy: statement.policy_sha256 ?? null,
      key: statement.key,
      signedAt: statement.signed_at,
    }
  } catch (cause) {
    if (cause instanceof z.ZodError) {
      return { type: 'unreadable', message: z.prettifyError(cause) }
    }
    return { type: 'unreadable', message: cause instanceof Error ? cause.message : String(cause) }
  }
}
