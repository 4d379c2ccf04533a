import { join } from 'node:path'
import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Checkpoint } from '../../api/audit.ts'
import { keysInLog } from '../../audit/checkpoints/checkpoint-stream.ts'
import { knownKeys, type TrustAnchors } from '../../audit/proofs/public-keys.ts'
import { ContentsPool } from '../../audit/verify/contents-pool.ts'
import { isBroken } from '../../audit/verify/report.ts'
import { verifyBundle } from '../../audit/verify/verify-bundle.ts'
import { type VerifiableStore, verifyStore } from '../../audit/verify/verify-store.ts'
import { logPages } from '../../log/stream-pages.ts'
import { readProjected } from '../../projections/read-projected.ts'
import { bundleFile } from '../bundle-file.ts'
import { endingWith, exitWithOurs } from '../connection.ts'
import {
  artifactsAround,
  type DataFolder,
  dataDirOf,
  isConnectionString,
  openDataFolder,
  openEventStoreDb,
} from '../data-folder.ts'
import { print, printJson } from '../terminal/print.ts'
import { bundleLines, type LiveReport, liveLines } from '../terminal/report-lines.ts'
import { type AnchorOptions, readAnchors, readKept, trustOf, withAnchors } from './anchors.ts'
import { verifyServer } from './verify-server.ts'

const HELP = `
A FILE is verified without a server or a network: whether it is complete and unaltered. Only --fingerprint
or --keys, from a source that you trust, can show that the server that you mean signed it.

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
       cannot be read now; the output names them`

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
    .description('Verify an export, or all runs of a server, data folder or EventStoreDB.')
    .argument('[file]', 'an export')
    .option('--server <url>', 'verify all runs of this server')
    .option(
      '--data-dir <folder>',
      'verify all runs of this data folder, even while a server uses it',
    )
    .option('--store <url>', 'verify all runs of the EventStoreDB at esdb://…')
    .option('--checkpoint <file>', 'a checkpoint that you have kept')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', HELP)
    .exitOverride(exitWithOurs)
    .action((file: string | undefined, options: Options) => endingWith(() => run(file, options)))
}

async function run(file: string | undefined, options: Options): Promise<Result<number, string>> {
  const { server, dataDir, store } = options
  const given = [file, server, dataDir, store].filter((each) => each !== undefined)
  if (given.length !== 1) return err('Name exactly one of: a file, --server, --data-dir, --store.')
  const anchors = await readAnchors(options)
  if (anchors.isErr()) return err(anchors.error)
  if (file !== undefined) {
    if (options.checkpoint !== undefined) return err('--checkpoint verifies no file.')
    const bundle = await bundleFile(file)
    if (bundle.isErr()) return err(bundle.error)
    const report = await verifyBundle(bundle.value(), { anchors: anchors.value })
    return printReport(report, bundleLines(report), options)
  }
  const kept = await readKept(options.checkpoint)
  if (kept.isErr()) return err(kept.error)
  const report = await verifyLive(options, kept.value, anchors.value)
  if (report.isErr()) return err(report.error)
  return printReport(report.value, liveLines(report.value), options)
}

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
    return await verifyFolder(folder.value, join(dir.value, 'read-model.sqlite'), kept, anchors)
  } finally {
    await folder.value.log.close()
  }
}

async function verifyFolder(
  { log, artifacts, keyring }: DataFolder,
  readModel: string,
  kept: Checkpoint | null,
  anchors: TrustAnchors,
): Promise<Result<LiveReport, string>> {
  const own = await keyring.load()
  if (own.isErr()) return err(own.error.message)
  const keys = new Map([...knownKeys(own.value.published), ...anchors.keys])
  const projected = await readProjected(readModel)
  const store = { reader: log, pages: () => log.pages(), artifacts, keys, projected }
  return reportOn(store, kept, anchors)
}

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
    const whole = { reader, pages: () => logPages(reader), artifacts: artifacts.value, keys }
    return await reportOn({ ...whole, projected: null }, kept, anchors)
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
    const latest = compared[0]
    const signers = [kept, latest ?? null].flatMap((each) => each?.key ?? [])
    return {
      ...report,
      holds: report.findings.length === 0,
      trust: trustOf(anchors, signers),
      checkpoints: compared.map(({ number }) => number),
      read_model: projected === null ? null : projected.runs.size,
    }
  })
}
