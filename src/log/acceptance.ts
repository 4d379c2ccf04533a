import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { Acceptance } from '../domain/acceptance.ts'
import { jsonOr } from '../lib/json.ts'
import { sha256 } from '../lib/sha256.ts'
import { canonicalText } from './commitment.ts'

/** As an artifact holds it. Nobody can guess it from the hash, because of the salt: 16 random bytes, hex. */
const Kept = Acceptance.extend({ salt: z.string().regex(/^[0-9a-f]{32}$/) })

/** The artifact of a check that the agent does not see. */
export const acceptanceArtifact = (check: Acceptance, salt: string): string =>
  canonicalText({ ...check, salt } satisfies z.infer<typeof Kept>)

/**
 * The check that an artifact holds. The error is a sentence for people without its point, and holds nothing of the check.
 * @param commitment the hash of the artifact in the first record of the run
 */
export function readAcceptance(
  content: Uint8Array,
  commitment: string,
): Result<Acceptance, string> {
  if (sha256(content) !== commitment) return err('its artifact has other contents')
  const kept = Kept.safeParse(jsonOr(new TextDecoder().decode(content), null))
  if (!kept.success) return err('its artifact is no check')
  const { salt: _, ...check } = kept.data
  return ok(check)
}
