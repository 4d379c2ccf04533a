/** The parts of an export that are always there, in the order in which they stand in the archive. */
export const MANIFEST = 'manifest.json'
export const README = 'README.txt'
export const KEYS = 'keys.json'
export const PROOF = 'proof.json'
/** Only where something was taken out of the run. */
export const REDACTIONS_FILE = 'redactions.ndjson'
export const RECORDS = 'records.ndjson'
export const ARTIFACTS = 'artifacts/'

export const FIXED_PARTS = [README, KEYS, PROOF, RECORDS] as const

/** One file of the archive. The body must be read to its end before the next part is asked for. */
export type BundlePart = {
  readonly path: string
  readonly bytes: number
  /** When it was packed, seconds since the epoch, as far as an archive has said so. */
  readonly mtime?: number
  readonly body: AsyncIterable<Uint8Array>
}

export const readme = (runId: string): string => `\
This is the record of the retrAI run ${runId}, as its server has exported it.

manifest.json   what is in the archive: size and SHA-256 of every other part, signed
keys.json       the public keys of the server (Ed25519)
proof.json      how many records the run has and the hash of the last one, signed
redactions.ndjson   only where texts were taken out of the run: which, by whom and why
records.ndjson  the records, one JSON object a line, in order
artifacts/      outputs that records hold only in part, named by their SHA-256

To verify it without a server and without a network:

    retrai verify FILE --fingerprint FINGERPRINT

The fingerprint is that of the server's key. Take it from somewhere else than this archive: who makes up
an archive can put a key of his own into it.

What is verified, and the formats byte by byte, so that a verifier can be written in any language, is
in docs/verification.md of retrAI. In short: the hash of each record is SHA-256 over its RFC 8785
canonical form, in which a salted hash stands for each string of the payload; it covers the hash of the
record before it; and the last hash is signed in proof.json.
`
