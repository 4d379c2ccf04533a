import type { BundlePart } from '../bundle/bundle-format.ts'
import { NO_ANCHORS, type TrustAnchors } from '../proofs/trust-anchors.ts'
import { BundleReading, type Onlookers } from './bundle-reading.ts'
import { judgeBundle } from './judge-bundle.ts'
import type { BundleReport } from './report.ts'

export type VerifyOptions = Onlookers & {
  /** What the reader trusts; without any, the keys of the archive itself are used. */
  readonly anchors?: TrustAnchors
}

/** Verifies an export, part by part, at constant memory. */
export async function verifyBundle(
  parts: AsyncIterable<BundlePart>,
  { anchors = NO_ANCHORS, ...onlookers }: VerifyOptions = {},
): Promise<BundleReport> {
  const reading = new BundleReading(anchors.keys, onlookers)
  try {
    for await (const part of parts) await reading.take(part)
  } catch (cause) {
    reading.brokenOff(cause)
  }
  return judgeBundle(reading.contents, anchors)
}
