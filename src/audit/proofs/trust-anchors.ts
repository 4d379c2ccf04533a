import type { KnownKeys } from './public-keys.ts'

/** What a reader knows from elsewhere: keys, or only fingerprints. Both empty: nothing. */
export type TrustAnchors = {
  readonly keys: KnownKeys
  readonly fingerprints: ReadonlySet<string>
}

export const NO_ANCHORS: TrustAnchors = { keys: new Map(), fingerprints: new Set() }

export const hasAnchors = ({ keys, fingerprints }: TrustAnchors): boolean =>
  keys.size + fingerprints.size > 0

export const isTrusted = ({ keys, fingerprints }: TrustAnchors, fingerprint: string): boolean =>
  keys.has(fingerprint) || fingerprints.has(fingerprint)
