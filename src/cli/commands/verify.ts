import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { err, ok, Result } from 'neverthrow'
import type { Checkpoint } from '../../api/audit.ts'
import { keysInLog } from '../../audit/checkpoints/checkpoint-stream.ts'
import { readKeptCheckpoints } from '../../audit/checkpoints/kept-checkpoints.ts'
import { readPublishedKeys } from '../../audit/proofs/keyring.ts'
import { knownKeys, type TrustAnchors } from '../../audit/proofs/public-keys.ts'
import { ContentsPool } from '../../audit/verify/contents-pool.ts'
import { FamilyCheck } from '../../audit/verify/family-check.ts'
import { type BundleReport, isBroken } from '../../audit/verify/report.ts'
import { verifyBundle } from '../../audit/verify/verify-bundle.ts'
import type { SeenRecord } from '../../audit/verify/verify-run.ts'
import { type VerifiableStore, verifyStore } from '../../audit/verify/verify-store.ts'
import { logPages } from '../../log/stream-pages.ts'
import { readProjected } from '../../projections/read-projected.ts'
import {
  RedactionIndex,
  redactionIndexOf,
  withRedactions,
} from '../../redaction/redaction-index.ts'
import { bundleFile } from '../bundle-file.ts'
import { endingWith } from '../connection.ts'
import {
  artifactsAround,
  type DataFolder,
  dataDirOf,
  foreignIn,
  isConnectionString,
  namesOfArtifacts,
  openDataFolder,
  openEventStoreDb,
} from '../data-folder.ts'
import { print, printJson } from '../terminal/print.ts'
import { bundleLines, filesLines, type LiveReport, liveLines } from '../terminal/report-lines.ts'
import { type AnchorOptions, readAnchors, readKept, trustOf, withAnchors } from './anchors.ts'
import { verifyServer } from './verify-server.ts'

const HELP = `
Whether a FILE is complete and unaltered is verified without a server or a network. To know that a certain
server signed it, pass --fingerprint or --keys from a source that you trust. If you name the exports of a run
and of its sub-agents together, the command also compares what they say about each other.

A store is verified run by run, and compared with its own last checkpoint. --checkpoint also compares it
with a checkpoint that you have kept (an answer to GET /api/checkpoints/latest). This finds runs that were
dropped or cut off since then. A server answers from its read model, which is compared with the records.

Without a server, artifacts are read from the data folder, from the log, and from the folder or the bucket
of RETRAI_ARTIFACTS, so set that (and AWS_…) as for the server.

Exit codes:
  0    everything holds
  1    something does not hold; the output names the first bad record
  2    everything holds, but the signer is not a key that you trust
  3    the verification failed: no such file, no server, a wrong option; stderr says why. Or some artifacts
       cannot be read now; the output names them

Environment:
  RETRAI_TOKEN  for --server: the secret of a token, if the server needs one`

type Options = AnchorOptions & {
  readonly server?: string
  readonly dataDir?: string
  readonly store?: string
  readonly checkpoint?: string
  readonly json?: boolean
}

const VERDICT = { holds: 0, broken: 1, otherKey: 2, incomplete: 3 } as const

/** `retrai verify`: whether an export, or all runs of a store, are complete and unaltered. */
export function verifyCommand(): Command {
  return withAnchors(new Command('verify'))
    .description('Verify exports, or all runs of a server, data folder or EventStoreDB.')
    .argument('[files...]', 'exports')
    .option('--server <url>', 'verify all runs of this server')
    .option(
      '--data-dir <folder>',
      'verify all runs of this data folder, even while a server uses it',
    )
    .option('--store <url>', 'verify all runs of the EventStoreDB at esdb://…')
    .option('--checkpoint <file>', 'a checkpoint that you have kept')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', HELP)
    .action((files: readonly string[], options: Options) => endingWith(() => run(files, options)))
}

async function run(files: readonly string[], options: Options): Promise<Result<number, string>> {
  const { server, dataDir, store } = options
  const given = [files[0], server, dataDir, store].filter((each) => each !== undefined)
  if (given.length !== 1) return err('Name exactly one of: files, --server, --data-dir, --store.')
  const anchors = await readAnchors(options)
  if (anchors.isErr()) return err(anchors.error)
  if (files.length > 0) {
    if (options.checkpoint !== undefined) return err('--checkpoint verifies no file.')
    return verifyFiles(files, anchors.value, options)
  }
  const kept = await readKept(options.checkpoint)
  if (kept.isErr()) return err(kept.error)
  const report = await verifyLive(options, kept.value, anchors.value)
  if (report.isErr()) return err(report.error)
  const { holds, redacted } = report.value
  const isHidden = store !== undefined && holds && redacted.strings > 0
  const lines = [...liveLines(report.value), ...(isHidden ? [NOT_ERASED] : [])]
  return printReport(report.value, lines, options)
}

const NOT_ERASED =
  'The EventStoreDB cannot erase, so it still holds the redacted texts. Its servers show them to nobody, and "retrai copy" leaves them out.'

/** Verifies exports one by one, and compares runs with the runs of their sub-agents if both are among them. */
async function verifyFiles(
  paths: readonly string[],
  anchors: TrustAnchors,
  options: Options,
): Promise<Result<number, string>> {
  const files = Result.combine(await Promise.all(paths.map(bundleFile)))
  if (files.isErr()) return err(`${files.error} To verify a data folder, name it with --data-dir.`)
  const [only] = files.value
  if (files.value.length === 1 && only !== undefined) {
    const report = await verifyBundle(only(), { anchors })
    return printReport(report, bundleLines(report), options)
  }
  const family = new FamilyCheck(false)
  const reports: BundleReport[] = []
  for (const open of files.value) reports.push(await verifyBundle(open(), { anchors, family }))
  for (const { runId, seq } of family.wanted()) {
    const open = files.value[reports.findIndex(({ run_id }) => run_id === runId)]
    const onRecord = ({ logged, run }: SeenRecord): void => {
      if (logged.seq === seq) family.note(run)
    }
    if (open !== undefined) await verifyBundle(open(), { anchors, wanted: () => [seq], onRecord })
  }
  const report = filesReport(reports, family)
  const lines = [...reports.flatMap((each) => [...bundleLines(each), '']), ...filesLines(report)]
  return printReport(report, lines, options)
}

/** The report on several exports together. A finding about one export names its file. */
function filesReport(exports: readonly BundleReport[], family: FamilyCheck) {
  const judged = family.judge()
  const findings = [...exports.flatMap((each) => each.findings), ...judged.findings]
  const trust = TRUSTS.find((each) => exports.some((one) => one.trust === each)) ?? 'trusted'
  return { holds: findings.length === 0, trust, exports, family: judged.report, findings }
}

/** The worst first. */
const TRUSTS = ['not_trusted', 'not_compared', 'trusted'] as const

function verifyLive(
  { server, dataDir, store }: Options,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  if (dataDir !== undefined) return verifyDataFolder(dataDir, kept, anchors)
  if (store !== undefined) return verifyEventStoreDb(store, kept, anchors)
  return verifyServer(server === undefined ? {} : { server }, kept, anchors)
}

async function printReport(
  report: Pick<LiveReport, 'holds' | 'trust' | 'findings'>,
  lines: readonly string[],
  { json }: Options,
): Promise<Result<number, string>> {
  if (json === true) await printJson(report)
  else for (const line of lines) await print(line)
  if (isBroken(report.findings)) return ok(VERDICT.broken)
  if (!report.holds) return ok(VERDICT.incomplete)
  return ok(report.trust === 'not_trusted' ? VERDICT.otherKey : VERDICT.holds)
}

/** Verifies all runs of the log of a data folder, and compares them with its checkpoints. */
async function verifyDataFolder(
  given: string,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  const dir = dataDirOf(given)
  if (dir.isErr()) return err(dir.error)
  const folder = await openDataFolder(dir.value)
  if (folder.isErr()) return err(folder.error)
  try {
    return await verifyFolder(folder.value, dir.value, kept, anchors)
  } finally {
    await folder.value.log.close()
  }
}

async function verifyFolder(
  { log, artifacts }: DataFolder,
  dataDir: string,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  const own = await readPublishedKeys(join(dataDir, 'keys'))
  if (own.isErr()) return err(own.error.message)
  const keys = new Map([...knownKeys(own.value), ...anchors.keys])
  const projected = await readProjected(join(dataDir, 'read-model.sqlite'))
  // Read before the log, so that the log has everything in them.
  const stored = await namesOfArtifacts(dataDir)
  const beside = await readKeptCheckpoints(dataDir)
  const foreign = await foreignIn(dataDir)
  if (foreign.isErr()) return err(foreign.error)
  const files = { projected, beside, stored, foreign: foreign.value }
  const store = { reader: log, pages: () => log.pages(), artifacts, keys, ...files }
  const report = await reportOn(store, kept, anchors)
  const names = (await readdir(dataDir)).filter((name) => !VERIFIED.test(name))
  const unverified = [...names.toSorted(), 'the dates in keys/keyring.json']
  return report.map((verified) => ({ ...verified, unverified }))
}

/** The files of a data folder about which a report says something. Nothing signs the others. */
const VERIFIED =
  /^(?:log\.sqlite.*|read-model\..*|keys|artifacts|(?:last|lost)-checkpoint.*\.json)$/

/** Verifies all runs of an EventStoreDB, with the keys that its servers have published in it. */
async function verifyEventStoreDb(
  url: string,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  if (!isConnectionString(url)) return err('--store must be esdb://…, as for serve.')
  const store = await openEventStoreDb(url)
  if (store.isErr()) return err(store.error)
  const reader = store.value
  try {
    const artifacts = artifactsAround({ dataDir: null, reader })
    if (artifacts.isErr()) return err(artifacts.error)
    const inLog = await keysInLog(reader)
    if (inLog.isErr()) return err(inLog.error.message)
    const keys = new Map([...knownKeys({ keys: inLog.value }), ...anchors.keys])
    // If the redactions cannot be read, the verification finds out why.
    const index = (await redactionIndexOf(reader)).unwrapOr(new RedactionIndex())
    const hiding = withRedactions(reader, index)
    const whole = { reader: hiding, pages: () => logPages(hiding), artifacts: artifacts.value }
    return await reportOn({ ...whole, keys, projected: null }, kept, anchors)
  } finally {
    await reader.close()
  }
}

async function reportOn(
  store: VerifiableStore,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  const { projected } = store
  using pool = new ContentsPool()
  const verified = await verifyStore({ ...store, pool }, kept)
  return verified.map(({ compared, ...report }) => {
    const signers = [
      ...[kept, compared[0]].flatMap((each) => each?.key ?? []),
      ...Object.values(report.seals).flatMap(({ keys }) => keys),
    ]
    return {
      ...report,
      holds: report.findings.length === 0,
      trust: trustOf(anchors, signers),
      checkpoints: compared.map(({ number }) => number),
      read_model: projected === null ? null : projected.runs.size,
    }
  })
}
