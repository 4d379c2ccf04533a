import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Trust } from '../../audit/verify/report.ts'
import { verifyBundle } from '../../audit/verify/verify-bundle.ts'
import { bundleFile } from '../bundle-file.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { endWithReader, print, printJson, say } from '../terminal/print.ts'
import {
  bundleLines,
  findingLines,
  type LiveReport,
  redactionLines,
  trustLine,
} from '../terminal/report-lines.ts'
import { type AnchorOptions, readAnchors, readKept, withAnchors } from './anchors.ts'
import { verifyDataFolder } from './verify-data-folder.ts'
import { verifyServer } from './verify-server.ts'

const HELP = `
A FILE is verified without server or network. It says whether it holds by itself; whether it is from the
server that you mean, you learn only by --fingerprint or --keys, taken from a source that you trust.

A store is verified run by run, and against its own last checkpoint. With --checkpoint also against one
that you have kept (what GET /api/checkpoints/latest has answered): so it is found when a run was
dropped or the end of one was cut off since. What the read model says of the runs, from which a server
answers, is compared with their records.

Exit codes:
  0    all of it holds
  1    something does not hold; the first bad record is named
  2    it holds by itself, but is not signed by a key that you trust
  3    it could not be verified: no such file, no server, a wrong option; stderr says why`

type Options = AnchorOptions & {
  readonly server?: string
  readonly dataDir?: string
  readonly checkpoint?: string
  readonly json?: boolean
}

const VERDICT = { holds: 0, broken: 1, otherKey: 2 } as const

/** `retrai verify`: whether an export, or all runs of a store, are complete and unaltered. */
export function verifyCommand(): Command {
  return withAnchors(new Command('verify'))
    .description('Verify an export, or all runs of a server or data folder.')
    .argument('[file]', 'an export')
    .option('--server <url>', 'verify all runs of this server')
    .option('--data-dir <folder>', 'verify all runs of this data folder; a server may be using it')
    .option('--checkpoint <file>', 'a checkpoint that you have kept')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', HELP)
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? EXIT.done : EXIT.notDone))
    .action(async (file: string | undefined, options: Options) => {
      endWithReader()
      const done = await run(file, options)
      if (done.isErr()) say(`retrai: ${done.error}`)
      process.exitCode = done.unwrapOr(EXIT.notDone)
    })
}

async function run(file: string | undefined, options: Options): Promise<Result<number, string>> {
  const { server, dataDir } = options
  const given = [file, server, dataDir].filter((each) => each !== undefined)
  if (given.length !== 1) return err('Name one of: a file, --server or --data-dir.')
  const anchors = await readAnchors(options)
  if (anchors.isErr()) return err(anchors.error)
  if (file !== undefined) {
    if (options.checkpoint !== undefined) return err('--checkpoint needs --server or --data-dir.')
    const bundle = await bundleFile(file)
    if (bundle.isErr()) return err(bundle.error)
    const report = await verifyBundle(bundle.value(), { anchors: anchors.value })
    return tell(report, bundleLines(report), options)
  }
  const kept = await readKept(options.checkpoint)
  if (kept.isErr()) return err(kept.error)
  const report = await (dataDir === undefined
    ? verifyServer(server === undefined ? {} : { server }, kept.value, anchors.value)
    : verifyDataFolder(dataDir, kept.value, anchors.value))
  if (report.isErr()) return err(report.error)
  return tell(report.value, liveLines(report.value), options)
}

async function tell(
  report: { readonly holds: boolean; readonly trust: Trust },
  lines: readonly string[],
  { json }: Options,
): Promise<Result<number, string>> {
  if (json === true) await printJson(report)
  else for (const line of lines) await print(line)
  if (!report.holds) return ok(VERDICT.broken)
  return ok(report.trust === 'not_trusted' ? VERDICT.otherKey : VERDICT.holds)
}

function liveLines(report: LiveReport): string[] {
  const { holds, runs, records, ledgers, artifacts, checkpoints, findings, trust } = report
  const { read_model, signers } = report
  const compared =
    checkpoints.length === 0
      ? 'There is no checkpoint to compare with: whether runs were dropped cannot be told.'
      : `Compared with checkpoint ${[...new Set(checkpoints)].join(' and ')}.`
  const beside = Object.entries(ledgers).filter(([, length]) => length > 0)
  const counts = [
    `${records} records in ${runs} runs hold, and ${artifacts} artifacts.`,
    ...beside.map(([name, length]) => `${length} entries of the ledger ${name} hold.`),
    ...(read_model === null
      ? []
      : [
          `Compared what is said of ${read_model} runs, which is from the read model, with their records.`,
        ]),
    ...signers
      .filter(({ own }) => !own)
      .map(
        ({ key, checkpoints: count }) =>
          `${count} checkpoints are signed by the key ${key}, which is another server's.`,
      ),
    ...(holds ? redactionLines(report.redacted) : []),
  ]
  if (!holds) return ['The store DOES NOT HOLD.', ...findingLines(findings), ...counts, compared]
  return ['The store holds.', ...counts, compared, trustLine(trust)]
}
