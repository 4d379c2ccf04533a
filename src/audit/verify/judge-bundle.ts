import {
  ARTIFACTS,
  FIXED_PARTS,
  MANIFEST,
  PROOF,
  RECORDS,
  REDACTIONS_FILE,
} from '../bundle/bundle-format.ts'
import type { KnownKeys } from '../proofs/public-keys.ts'
import { checkSeal, type Sealed } from '../proofs/statements.ts'
import { hasAnchors, isTrusted, type TrustAnchors } from '../proofs/trust-anchors.ts'
import { type BundleContents, namedBy } from './bundle-reading.ts'
import type { BundleReport, Finding, Trust } from './report.ts'
import type { VerifiedRecords } from './verify-records.ts'

/** What is to be said of an export: whether its parts belong together and are what was signed. */
export function judgeBundle(contents: BundleContents, anchors: TrustAnchors): BundleReport {
  const { proof, manifest, records, redactions, artifacts } = contents
  const findings = [
    ...contents.findings,
    ...partsMissing(contents),
    ...partsUnordered(contents),
    ...sealsBroken(contents),
    ...recordsNotSigned(contents),
    ...artifactsMissing(contents),
    ...redactionsAmiss(contents),
  ]
  const bad = findings.flatMap(({ seq }) => (seq === null ? [] : [seq]))
  return {
    holds: findings.length === 0,
    trust: trustOf(contents, anchors),
    run_id: proof?.run_id ?? manifest?.run_id ?? null,
    verified: lengthOf(records),
    signed: proof?.length ?? null,
    complete: records?.run?.state.phase.type === 'ended',
    head: records?.run?.head ?? null,
    key: proof?.key ?? null,
    signed_at: proof?.signed_at ?? null,
    artifacts,
    redacted: redactions.report(),
    first_bad_seq: bad.length === 0 ? null : Math.min(...bad),
    findings,
  }
}

const lengthOf = (records: VerifiedRecords | null): number =>
  records?.run == null ? 0 : records.run.state.seq + 1

function partsMissing({ broken, manifest, paths, records }: BundleContents): Finding[] {
  const end: Finding[] =
    broken === null ? [] : [{ problem: 'incomplete', where: 'archive', ...broken }]
  const wanted = manifest?.parts.map(({ path }) => path) ?? FIXED_PARTS
  const missing = [MANIFEST, ...wanted].filter((path) => !paths.includes(path))
  return [
    ...end,
    ...missing.map((where): Finding => {
      const seq = where === RECORDS ? 0 : namedBy(where, records)
      return { problem: 'missing', where, seq, message: 'it is not in the archive' }
    }),
  ]
}

/** An export has these parts, each once and in this order, whatever its manifest says. */
function partsUnordered({ manifest }: BundleContents): Finding[] {
  if (manifest === null) return []
  const paths = manifest.parts.map(({ path }) => path)
  const artifacts = new Set(paths.filter((path) => path.startsWith(ARTIFACTS)))
  const fixed = FIXED_PARTS.flatMap((path) =>
    path === RECORDS && paths.includes(REDACTIONS_FILE) ? [REDACTIONS_FILE, path] : [path],
  )
  const right = [...fixed, ...artifacts]
  if (right.length === paths.length && right.every((path, at) => path === paths[at])) return []
  const message = `it names other parts than an export has, or in another order: ${paths.join(', ')}`
  return [{ problem: 'unexpected', where: MANIFEST, seq: null, message }]
}

function sealsBroken({ manifest, proof, keys }: BundleContents): Finding[] {
  const findings = [...sealBroken(MANIFEST, manifest, keys), ...sealBroken(PROOF, proof, keys)]
  if (manifest === null || proof === null) return findings
  if (manifest.run_id === proof.run_id && manifest.records === proof.length) return findings
  const message = `it speaks of ${proof.length} records of ${proof.run_id}, the manifest of ${manifest.records} of ${manifest.run_id}`
  return [...findings, { problem: 'changed', where: PROOF, seq: null, message }]
}

function sealBroken(where: string, statement: Sealed | null, keys: KnownKeys): Finding[] {
  const seal = statement === null ? 'good' : checkSeal(statement, keys)
  if (statement === null || seal === 'good') return []
  const message =
    seal === 'bad'
      ? `its signature is not one of the key ${statement.key}: it was changed since it was signed`
      : `the key ${statement.key} is not known, so its signature cannot be checked`
  return [{ problem: 'signature', where, seq: null, message }]
}

function recordsNotSigned({ records, proof }: BundleContents): Finding[] {
  const found = (problem: Finding['problem'], seq: number, message: string): Finding[] => [
    { problem, where: RECORDS, seq, message },
  ]
  if (records === null) return []
  if (records.bad !== null) {
    return found(records.bad.problem, records.bad.seq, records.bad.message)
  }
  if (proof === null) return []
  const length = lengthOf(records)
  if (length < proof.length) {
    return found('missing', length, `${proof.length} records were signed, and the file ends here`)
  }
  if (length > proof.length) {
    return found('added', proof.length, `only ${proof.length} records were signed`)
  }
  if (records.run?.head === proof.head) return []
  const message = `its hash ${records.run?.head} is not the signed one ${proof.head}: this record or some before it were written anew`
  return found('changed', length - 1, message)
}

/** Artifacts that records name must be there, unless the signed manifest says that they never were. */
function artifactsMissing({ manifest, records, redactions }: BundleContents): Finding[] {
  if (manifest === null) return []
  const listed = new Set(manifest.parts.map(({ path }) => path))
  return [...(records?.artifacts ?? [])].flatMap(([name, seq]): Finding[] => {
    const where = `${ARTIFACTS}${name}`
    if (listed.has(where) || redactions.hasTaken(name)) return []
    const message = manifest.missing_artifacts.includes(name)
      ? 'the server did not have it any more when the run was exported'
      : 'a record names it, and the manifest does not'
    return [{ problem: 'missing', where, seq, message }]
  })
}

function redactionsAmiss({ records, redactions }: BundleContents): Finding[] {
  const known = (runId: string): number =>
    runId === records?.run?.state.runId ? lengthOf(records) : 0
  return redactions.findings(known).map(({ runId: _, ...finding }) => finding)
}

function trustOf({ manifest, proof }: BundleContents, anchors: TrustAnchors): Trust {
  if (!hasAnchors(anchors)) return 'not_compared'
  const all = [manifest?.key, proof?.key].every(
    (key) => key !== undefined && isTrusted(anchors, key),
  )
  return all ? 'trusted' : 'not_trusted'
}
