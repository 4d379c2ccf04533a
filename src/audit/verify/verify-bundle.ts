import {
  checkSeal,
  NO_ANCHORS,
  type Sealed,
  type TrustAnchors,
  trustOf,
} from '../../checkpoints/public-keys.ts'
import {
  ARTIFACTS,
  type BundlePart,
  firstSeqOf,
  KEYS,
  LOG_PROOF,
  MANIFEST,
  objectsPath,
  PROOF,
  packOf,
  README,
  RECORDS_V1,
  REDACTIONS_FILE,
  recordsPath,
  STAMP,
} from '../bundle/bundle-format.ts'
import type { BundleFile } from '../bundle/tar-parts.ts'
import { BundleReading, type Observers } from './bundle-reading.ts'
import { FamilyCheck } from './family-check.ts'
import { checkLogProof, checkStamped, type TrustedWitnesses } from './log-check.ts'
import { type BundleReport, type FilesReport, type Finding, finding } from './report.ts'

export type VerifyOptions = Observers & {
  /** Compares the run with others. Without it, the report says with which runs it was not compared. */
  readonly family?: FamilyCheck
  /** What the reader trusts; without any, the keys of the archive itself are used. */
  readonly anchors?: TrustAnchors
  /** Those that must have seen the run. */
  readonly witnesses?: TrustedWitnesses | null
}

/** Verifies an export, part by part, at constant memory. */
export async function verifyBundle(
  parts: AsyncIterable<BundlePart>,
  options: VerifyOptions = {},
): Promise<BundleReport> {
  const { anchors = NO_ANCHORS, witnesses = null, family: families } = options
  const { onRecord, onRedaction } = options
  const family = families ?? new FamilyCheck(false)
  const reading = new BundleReading(anchors.keys, {
    onRedaction,
    onRecord: (record, line) => {
      family.see(record, line.created)
      return onRecord?.(record, line)
    },
  })
  try {
    for await (const part of parts) await reading.take(part)
  } catch (cause) {
    reading.breakOff(cause)
  }
  const { bad = null, run = null } = reading.records ?? {}
  const runId = run?.runId ?? reading.proof?.run_id
  if (bad !== null && runId !== undefined) family.noteBad(runId, bad.seq)
  const placeOf = ({ seq }: { readonly seq: number }) => reading.fileOf(seq)
  const judged = families === undefined ? family.judge(placeOf) : NOT_JUDGED
  return judge(reading, anchors, witnesses, judged)
}

/** Several exports are compared with each other once all of them were read. */
const NOT_JUDGED = { findings: [], report: { compared: 0, not_compared: [] } }

/** Reports whether the parts of an export belong together and are what was signed. */
async function judge(
  reading: BundleReading,
  anchors: TrustAnchors,
  witnesses: TrustedWitnesses | null,
  family: ReturnType<FamilyCheck['judge']>,
): Promise<BundleReport> {
  const { proof, manifest, records, redactions, artifacts } = reading
  const files = filesAmiss(reading)
  const log = checkLogProof(reading, witnesses)
  const stamp = await checkStamped(reading, anchors)
  const findings = [
    ...reading.findings,
    ...partsElsewhere(reading),
    ...partsChanged(reading),
    ...manifestMalformed(reading),
    ...sealsBroken(reading),
    ...recordsNotSigned(reading),
    ...artifactsMissing(reading),
    ...files.findings,
    ...redactionsAmiss(reading),
    ...log.findings,
    ...stamp.findings,
    ...family.findings,
  ]
  const bad = findings.flatMap(({ seq }) => (seq === null ? [] : [seq]))
  return {
    holds: findings.length === 0,
    trust: trustOf(anchors, [manifest?.key, proof?.key, ...redactions.keys]),
    run_id: proof?.run_id ?? manifest?.run_id ?? null,
    verified: records?.length ?? 0,
    signed: proof?.length ?? null,
    complete: records?.run?.ended === true,
    head: records?.run?.head ?? null,
    key: proof?.key ?? null,
    signed_at: proof?.signed_at ?? null,
    log: log.report,
    stamp: stamp.report,
    files: files.report,
    artifacts,
    verdict: records?.verdict ?? null,
    withheld: records?.withheld ?? 0,
    isolation: records?.run?.isolation ?? null,
    signed_policy: proof?.policy_sha256 ?? null,
    isolated_otherwise: records?.isolatedOtherwise ?? 0,
    redacted: redactions.report(),
    family: family.report,
    first_bad_seq: bad.length === 0 ? null : Math.min(...bad),
    findings,
  }
}

/** The paths that the archive should have, in order: by its manifest, or those that every export has. */
function wantedPaths({ version, manifest }: BundleReading): readonly string[] {
  const first = version === 1 ? RECORDS_V1 : recordsPath(0)
  const listed = manifest?.parts.map(({ path }) => path) ?? [README, KEYS, PROOF, first]
  return version === 1 ? [MANIFEST, ...listed] : [...listed, MANIFEST]
}

/** Parts that are missing, or in the place of others. */
function partsElsewhere(reading: BundleReading): Finding[] {
  const { version, manifest, parts } = reading
  const wanted = wantedPaths(reading)
  const there = new Set(parts.map(({ path }) => path))
  const missing = wanted
    .filter((path) => !there.has(path))
    .map((path) => {
      const seq = firstSeqOf(path) ?? reading.namedBy(path)
      return finding('missing', path, 'it is not in the archive', seq)
    })
  // Without its manifest, a version 2 export can hold any number of parts with records.
  if (version === 2 && manifest === null) return missing
  const moved = parts.flatMap(({ path }, index): Finding[] => {
    const expected = wanted[index] ?? 'nothing'
    if (path === expected) return []
    return [finding('unexpected', path, `${expected} is expected in its place`)]
  })
  return [...missing, ...moved]
}

function partsChanged({ manifest, parts }: BundleReading): Finding[] {
  if (manifest === null) return []
  const listed = new Map(manifest.parts.map((part) => [part.path, part]))
  return parts.flatMap(({ path, contents }): Finding[] => {
    const part = listed.get(path)
    if (part === undefined || contents === null) return []
    const { bytes, sha256 } = contents
    if (part.bytes === bytes && part.sha256 === sha256) return []
    const message = `it has ${bytes} bytes and the SHA-256 ${sha256}; the manifest lists ${part.bytes} and ${part.sha256}`
    return [finding('changed', path, message)]
  })
}

/** Whatever a manifest lists, an export of its version has certain parts, each once and in this order. */
function manifestMalformed({ manifest, version }: BundleReading): Finding[] {
  if (manifest === null) return []
  if (manifest.type !== `retrai.export.v${version}`) {
    const message = `it is a ${manifest.type}, and the archive has the order of version ${version}`
    return [finding('unexpected', MANIFEST, message)]
  }
  const paths = manifest.parts.map(({ path }) => path)
  const redactions = paths.filter((path) => path === REDACTIONS_FILE).slice(0, 1)
  const log = paths.filter((path) => path === LOG_PROOF).slice(0, 1)
  const stamp = Object.values(STAMP).some((path) => paths.includes(path))
    ? Object.values(STAMP)
    : []
  const numbered = paths.filter((path) => firstSeqOf(path) !== null && path !== RECORDS_V1)
  const artifacts = new Set(paths.filter((path) => path.startsWith(ARTIFACTS)))
  const packs = new Set(paths.filter((path) => packOf(path) !== null))
  const right =
    version === 1
      ? [README, KEYS, PROOF, ...redactions, RECORDS_V1, ...artifacts, ...packs]
      : [
          README,
          KEYS,
          PROOF,
          ...log,
          ...stamp,
          ...new Set(numbered),
          ...redactions,
          ...artifacts,
          ...packs,
        ]
  if (JSON.stringify(right) === JSON.stringify(paths)) return []
  const message = `it lists other parts than an export has, or in another order: ${paths.join(', ')}`
  return [finding('unexpected', MANIFEST, message)]
}

function sealsBroken({ manifest, proof, keys }: BundleReading): Finding[] {
  const broken = (where: string, statement: Sealed | null): Finding[] => {
    const seal = statement === null ? 'good' : checkSeal(statement, keys)
    if (statement === null || seal === 'good') return []
    const message =
      seal === 'bad'
        ? `its signature is not from the key ${statement.key}: it was changed after it was signed`
        : `the key ${statement.key} is not known, so its signature cannot be checked`
    return [finding('signature', where, message)]
  }
  const findings = [...broken(MANIFEST, manifest), ...broken(PROOF, proof)]
  if (manifest === null || proof === null) return findings
  if (manifest.run_id === proof.run_id && manifest.records === proof.length) return findings
  const message = `it names ${proof.length} records of ${proof.run_id}, the manifest ${manifest.records} of ${manifest.run_id}`
  return [...findings, finding('changed', PROOF, message)]
}

function recordsNotSigned(reading: BundleReading): Finding[] {
  const { records, proof } = reading
  const at = (problem: Finding['problem'], seq: number, message: string): Finding[] => [
    finding(problem, reading.fileOf(seq), message, seq),
  ]
  const { bad = null, run = null, length = 0 } = records ?? {}
  if (bad !== null) return at(bad.problem, bad.seq, bad.message)
  if (proof === null) return []
  if (length < proof.length) {
    return at('missing', length, `${proof.length} records were signed, and the export ends here`)
  }
  if (length > proof.length) {
    return at('added', proof.length, `only ${proof.length} records were signed`)
  }
  const { head, lastKind } = run ?? {}
  if (head !== proof.head) {
    const message = `its hash ${head} is not the signed one ${proof.head}: this record or some before it were rewritten`
    return at('changed', length - 1, message)
  }
  if (lastKind !== proof.last_kind) {
    const message = `the proof names the kind ${proof.last_kind}, and it is a ${lastKind}`
    return at('changed', length - 1, message)
  }
  // Proofs of earlier versions name no policy.
  const { policy_sha256: signed } = proof
  const recorded = run?.isolation?.policy_sha256 ?? 'none'
  if (signed === undefined || signed === recorded) return []
  const message = `the proof names the policy ${signed} of isolation, and this record ${recorded}`
  return at('changed', 0, message)
}

/** An artifact that a record names must be there. If the server had lost it, the signed manifest says that. */
function artifactsMissing({ manifest, parts, records, redactions }: BundleReading): Finding[] {
  const listed = new Set([...(manifest?.parts ?? []), ...parts].map(({ path }) => path))
  const lost = new Set(manifest?.missing_artifacts)
  const artifacts = [...(records?.artifacts ?? [])].flatMap(([name, seq]): Finding[] => {
    const where = `${ARTIFACTS}${name}`
    if (listed.has(where) || redactions.hasDeleted(name)) return []
    const message = lost.has(name) ? LOST : 'a record names it, and the export does not have it'
    return [finding('missing', where, message, seq)]
  })
  const packs = [...(records?.packs ?? [])].filter(([name]) => lost.has(name))
  return [
    ...artifacts,
    ...packs.map(([name, seq]) => finding('missing', objectsPath(name), LOST, seq)),
  ]
}

const LOST = 'the server had lost it when the run was exported'

/** Compares the snapshots with the objects. A record or a part that is missing has a finding of its own. */
function filesAmiss(reading: BundleReading) {
  const { files, manifest, records, redactions } = reading
  const { removed, absent } = redactions.packs
  const packs = [...(records?.packs.keys() ?? [])]
  const hasLost = packs.some((name) => manifest?.missing_artifacts.includes(name))
  const isWithoutSome = hasLost || absent.has(records?.run?.runId ?? '')
  const { report, findings } = files.judge({ files: manifest?.files, removed, isWithoutSome })
  const isRead = manifest !== null && records?.bad === null
  return {
    report,
    findings: isRead
      ? findings.map(({ where, ...rest }): Finding => {
          return { ...rest, where: where ?? reading.fileOf(rest.seq ?? 0) }
        })
      : [],
  }
}

function redactionsAmiss(reading: BundleReading): Finding[] {
  const { records, redactions, manifest } = reading
  const known = (runId: string): number => (runId === records?.run?.runId ? records.length : 0)
  const findings = redactions.findings(known).map(({ runId: _, where, ...rest }) => {
    return { ...rest, where: where ?? reading.fileOf(rest.seq) }
  })
  const { lastUnsigned } = redactions
  // Exports of earlier versions do not say how many there are.
  if (lastUnsigned < (manifest?.unsigned_redactions ?? Number.POSITIVE_INFINITY)) return findings
  const message = `nobody has signed entry ${lastUnsigned} of the ledger: it is forged`
  return [...findings, finding('signature', REDACTIONS_FILE, message)]
}

/** Verifies exports one by one, and compares runs with the runs of their sub-agents if both are among them. */
export async function verifyFiles(
  files: readonly BundleFile[],
  anchors: TrustAnchors,
  witnesses: TrustedWitnesses | null = null,
): Promise<FilesReport> {
  const family = new FamilyCheck(false)
  const reports: BundleReport[] = []
  for (const open of files) reports.push(await verifyBundle(open(), { anchors, family, witnesses }))
  const judged = family.judge()
  const findings = [...reports.flatMap((each) => each.findings), ...judged.findings]
  const worstFirst = ['not_trusted', 'not_compared'] as const
  const trust = worstFirst.find((each) => reports.some((one) => one.trust === each)) ?? 'trusted'
  const holds = findings.length === 0
  return { holds, trust, exports: reports, family: judged.report, findings }
}
