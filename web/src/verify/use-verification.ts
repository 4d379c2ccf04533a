import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from 'react'
import type { SeqRecord } from '../run/seq-record.ts'
import { type Verification, Verifier } from './verifier.ts'

/** Longer runs are verified on request: it takes seconds, and much power on a phone. */
const UNASKED = 10_000

export type Verifying = Verification & {
  /** Whether the records are being verified, or have been. */
  readonly begun: boolean
  readonly begin: () => void
}

/**
 * Verifies the records of a run as they arrive.
 * @param length how many records the run has, as far as that is known
 */
export function useVerification(
  runId: string,
  records: readonly SeqRecord[],
  length: number | null,
): Verifying {
  const verifier = useMemo(() => new Verifier(runId), [runId])
  const verification = useSyncExternalStore(verifier.subscribe, verifier.getSnapshot)
  const [asked, setAsked] = useState(false)
  // A verification that has begun continues, however long the run becomes.
  const begun = asked || verification.verified > 0 || (length !== null && length <= UNASKED)
  useEffect(() => {
    if (begun) verifier.feed(records)
  }, [verifier, begun, records])
  const begin = useCallback(() => setAsked(true), [])
  return useMemo(() => ({ ...verification, begun, begin }), [verification, begun, begin])
}
