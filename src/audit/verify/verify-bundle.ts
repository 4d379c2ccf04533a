import {
  ARTIFACTS,
  type BundlePart,
  firstSeqOf,
  KEYS,
  MANIFEST,
  PROOF,
  README,
  RECORDS_V1,
  REDACTIONS_FILE,
  recordsPath,
} from '../bundle/bundle-format.ts'
import { NO_ANCHORS, type TrustAnchors } from '../proofs/public-keys.ts'
import {
  type BundleContents,
  BundleReading,
  fileOf,
  namedBy,
  type Observers,
  sealsBroken,
  trustOf,
} from './bundle-reading.ts'
import { ContentsPool } from './contents-pool.ts'
import { FamilyCheck } from './family-check.ts'
import type { BundleReport, Finding } from './report.ts'
import type { VerifiedRecords } from './verify-records.ts'

export type VerifyOptions = Observers & {
  /** Compares the run with others. Without it, the report says with which runs it was not compared. */
  readonly family?: FamilyCheck
  /** What the reader trusts; without any, the keys of the archive itself are used. */
  readonly anchors?: TrustAnchors
  /** For a caller that verifies many exports. */
  readonly pool?: ContentsPool
}

/** Verifies an export, part by part, at constant memory. */
export async function verifyBundle(
  parts: AsyncIterable<BundlePart>,
  { anchors = NO_ANCHORS, pool: given, family: families, ...others }: VerifyOptions = {},
): Promise<BundleReport> {
  using own = new ContentsPool()
  const family = families ?? new FamilyCheck(false)
  const observers: Observers = {
    ...others,
    onRecord: (record) => {
      family.see(record)
      others.onRecord?.(record)
    },
    onRun: (run) => {
      family.reach(run)
      others.onRun?.(run)
    },
  }
  const reading = new BundleReading(anchors.keys, given ?? own, observers)
  try {
    for await (const part of parts) await reading.take(part)
  } catch (cause) {
    reading.breakOff(cause)
  }
  const { contents } = reading
  const { bad = null, run = null } = contents.records ?? {}
  const runId = run?.state.runId ?? contents.proof?.run_id
  if (bad !== null && runId !== undefined) family.seeBad(runId, bad.seq)
  const placeOf = ({ seq }: { readonly seq: number }) => fileOf(seq, contents)
  return judge(contents, anchors, families === undefined ? family.judge(placeOf) : NO_FAMILY)
}

const NO_FAMILY = { findings: [], report: { compared: 0, not_compared: [] } }

/** Reports whether the parts of an export belong together and are what was signed. */
function judge(
  contents: BundleContents,
  anchors: TrustAnchors,
  family: ReturnType<FamilyCheck['judge']>,
): BundleReport {
  const { proof, manifest, records, redactions, artifacts } = contents
  const findings = [
    ...contents.findings,
    ...archiveCutOff(contents),
    ...partsMissing(contents),
    ...partsMoved(contents),
    ...partsChanged(contents),
    ...manifestMalformed(contents),
    ...sealsBroken(contents),
    ...recordsNotSigned(contents),
    ...policyNotSigned(contents),
    ...artifactsMissing(contents),
    ...redactionsAmiss(contents),
    ...family.findings,
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
    isolation: records?.run?.state.isolation ?? null,
    signed_policy: proof?.policy_sha256 ?? null,
    isolated_checks: records?.isolated.check ?? 0,
    isolated_otherwise: records?.isolated.other ?? 0,
    redacted: redactions.report(),
    family: family.report,
    first_bad_seq: bad.length === 0 ? null : Math.min(...bad),
    findings,
  }
}

const lengthOf = (records: VerifiedRecords | null): number =>
  records?.run == null ? 0 : records.run.state.seq + 1

const archiveCutOff = ({ broken }: BundleContents): Finding[] =>
  broken === null ? [] : [{ problem: 'incomplete', where: 'archive', ...broken }]

/** The paths that the archive should have, in order: by its manifest, or those that every export has. */
function wantedPaths({ version, manifest }: BundleContents): readonly string[] {
  const first = version === 1 ? RECORDS_V1 : recordsPath(0)
  const listed = manifest?.parts.map(({ path }) => path) ?? [README, KEYS, PROOF, first]
  return version === 1 ? [MANIFEST, ...listed] : [...listed, MANIFEST]
}

function partsMissing(contents: BundleContents): Finding[] {
  const there = new Set(contents.parts.map(({ path }) => path))
  const missing = wantedPaths(contents).filter((path) => !there.has(path))
  return missing.map((where): Finding => {
    const seq = firstSeqOf(where) ?? namedBy(where, contents.records)
    return { problem: 'missing', where, seq, message: 'it is not in the archive' }
  })
}

function partsMoved(contents: BundleContents): Finding[] {
  const { version, manifest, parts } = contents
  // Without its manifest, a version 2 export can hold any number of parts with records.
  if (version === 2 && manifest === null) return []
  const wanted = wantedPaths(contents)
  return parts.flatMap(({ path }, index): Finding[] => {
    const expected = wanted[index]
    if (path === expected) return []
    const message = `${expected ?? 'nothing'} is expected in its place`
    return [{ problem: 'unexpected', where: path, seq: null, message }]
  })
}

function partsChanged({ manifest, parts, mtime }: BundleContents): Finding[] {
  if (manifest === null) return []
  const listed = new Map(manifest.parts.map((part) => [part.path, part]))
  const changed = (where: string, message: string): Finding => {
    return { problem: 'changed', where, seq: null, message }
  }
  const findings = parts.flatMap(({ path, contents }): Finding[] => {
    const part = listed.get(path)
    if (part === undefined || contents === null) return []
    const { bytes, sha256 } = contents
    if (part.bytes === bytes && part.sha256 === sha256) return []
    const message = `it has ${bytes} bytes and the SHA-256 ${sha256}; the manifest lists ${part.bytes} and ${part.sha256}`
    return [changed(path, message)]
  })
  const { exported_at } = manifest
  if (mtime === null || mtime === Math.floor(Date.parse(exported_at) / 1000)) return findings
  const message = `the archive was not packed when the manifest says that the run was exported, ${exported_at}`
  return [...findings, changed(MANIFEST, message)]
}

/** Whatever a manifest lists, an export of its version has certain parts, each once and in this order. */
function manifestMalformed({ manifest, version }: BundleContents): Finding[] {
  if (manifest === null) return []
  const unexpected = (message: string): Finding[] => [
    { problem: 'unexpected', where: MANIFEST, seq: null, message },
  ]
  if (manifest.type !== `retrai.export.v${version}`) {
    return unexpected(
      `it is a ${manifest.type}, and the archive has the order of version ${version}`,
    )
  }
  const paths = manifest.parts.map(({ path }) => path)
  const redactions = paths.filter((path) => path === REDACTIONS_FILE).slice(0, 1)
  const records = new Set(paths.filter((path) => firstSeqOf(path) !== null))
  const artifacts = new Set(paths.filter((path) => path.startsWith(ARTIFACTS)))
  const right =
    version === 1
      ? [README, KEYS, PROOF, ...redactions, RECORDS_V1, ...artifacts]
      : [README, KEYS, PROOF, ...records, ...redactions, ...artifacts]
  const isRight = right.length === paths.length && right.every((path, at) => path === paths[at])
  if (isRight && (version === 1 || !records.has(RECORDS_V1))) return []
  return unexpected(
    `it lists other parts than an export has, or in another order: ${paths.join(', ')}`,
  )
}

function recordsNotSigned(contents: BundleContents): Finding[] {
  const { records, proof } = contents
  const found = (problem: Finding['problem'], seq: number, message: string): Finding[] => [
    { problem, where: fileOf(seq, contents), seq, message },
  ]
  if (records === null) return []
  const { bad, run } = records
  if (bad !== null) return found(bad.problem, bad.seq, bad.message)
  if (proof === null) return []
  const length = lengthOf(records)
  if (length < proof.length) {
    return found('missing', length, `${proof.length} records were signed, and the export ends here`)
  }
  if (length > proof.length)
    return found('added', proof.length, `only ${proof.length} records were signed`)
  const { head, lastKind } = run ?? {}
  if (head !== proof.head) {
    const message = `its hash ${head} is not the signed one ${proof.head}: this record or some before it were rewritten`
    return found('changed', length - 1, message)
  }
  if (lastKind === proof.last_kind) return []
  const message = `the proof names the kind ${proof.last_kind}, and it is a ${lastKind}`
  return found('changed', length - 1, message)
}

/** Proofs of earlier versions name no policy. A proof that names one names that of the first record. */
function policyNotSigned(contents: BundleContents): Finding[] {
  const { records, proof } = contents
  if (proof?.policy_sha256 === undefined || records?.run == null) return []
  const recorded = records.run.state.isolation?.policy_sha256 ?? 'none'
  if (recorded === proof.policy_sha256) return []
  const message = `the proof names the policy ${proof.policy_sha256} of isolation, and this record ${recorded}`
  return [{ problem: 'changed', where: fileOf(0, contents), seq: 0, message }]
}

/** An artifact that a record names must be there. If the server had lost it, the signed manifest says that. */
function artifactsMissing({ manifest, parts, records, redactions }: BundleContents): Finding[] {
  const listed = new Set([...(manifest?.parts ?? []), ...parts].map(({ path }) => path))
  return [...(records?.artifacts ?? [])].flatMap(([name, seq]): Finding[] => {
    const where = `${ARTIFACTS}${name}`
    if (listed.has(where) || redactions.hasDeleted(name)) return []
    const message = manifest?.missing_artifacts.includes(name)
      ? 'the server had lost it when the run was exported'
      : 'a record names it, and the export does not have it'
    return [{ problem: 'missing', where, seq, message }]
  })
}

function redactionsAmiss(contents: BundleContents): Finding[] {
  const { records, redactions, manifest } = contents
  const known = (runId: string): number =>
    runId === records?.run?.state.runId ? lengthOf(records) : 0
  const found = redactions.findings(known).map(({ runId: _, where, ...finding }) => {
    return { ...finding, where: where ?? fileOf(finding.seq, contents) }
  })
  const { lastUnsigned } = redactions
  // Exports of earlier versions do not say how many there are.
  if (lastUnsigned < (manifest?.unsigned_redactions ?? Number.POSITIVE_INFINITY)) return found
  const message = `nobody has signed entry ${lastUnsigned} of the ledger: it is forged`
  return [...found, { problem: 'signature', where: REDACTIONS_FILE, seq: null, message }]
}
