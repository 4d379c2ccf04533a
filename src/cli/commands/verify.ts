import { readFile } from 'node:fs/promises'
import { Command, InvalidArgumentError } from 'commander'
import { err, ok, Result } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, PublishedKeys } from '../../api/audit.ts'
import { bundleFile } from '../../audit/bundle/unpack.ts'
import type { LiveReport } from '../../audit/verify/live-report.ts'
import type { TrustedWitnesses } from '../../audit/verify/log-check.ts'
import { isBroken } from '../../audit/verify/report.ts'
import { bundleLines, filesLines, liveLines } from '../../audit/verify/report-lines.ts'
import { verifyBundle, verifyFiles } from '../../audit/verify/verify-bundle.ts'
import { readKeys, type TrustAnchors } from '../../checkpoints/public-keys.ts'
import { firstIssueOf, messageOf } from '../../lib/message-of.ts'
import type { NoteKey } from '../../lib/note-check.ts'
import { readNoteKey } from '../../lib/signed-note.ts'
import { type JsonOption, positiveInt } from '../terminal/option-values.ts'
import { print, printJson } from '../terminal/print.ts'
import { withProgress } from '../terminal/progress.ts'
import { offline, type Steps } from '../terminal/steps.ts'

export type AnchorOptions = {
  readonly fingerprint?: readonly string[]
  readonly keys?: string
}

/** The options that name the keys that a reader trusts. */
export function withAnchors(command: Command): Command {
  return command
    .option(
      '--fingerprint <hex>',
      'the fingerprint of a key that you trust; may be repeated',
      collect,
    )
    .option('--keys <file>', 'keys that you trust: an answer to GET /api/keys')
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  const fingerprint = text.toLowerCase().replaceAll(':', '')
  if (/^[0-9a-f]{64}$/.test(fingerprint)) return [...before, fingerprint]
  throw new InvalidArgumentError('A fingerprint has 64 hex digits.')
}

export async function readAnchors({
  fingerprint = [],
  keys: file,
}: AnchorOptions): Promise<Result<TrustAnchors, string>> {
  const fingerprints = new Set(fingerprint)
  if (file === undefined) return ok({ keys: new Map(), fingerprints })
  const published = await readAnswer(file, PublishedKeys, 'GET /api/keys')
  const keys = published.andThen((read) => readKeys(read).mapErr((why) => `${file}: ${why}`))
  // Otherwise, it would be as if no keys were named.
  return keys.andThen((keys) =>
    keys.size === 0 ? err(`${file} holds no keys: its list is empty`) : ok({ keys, fingerprints }),
  )
}

/** Reads a file that has an answer of a server. */
async function readAnswer<T>(
  file: string,
  schema: z.ZodType<T>,
  call: string,
): Promise<Result<T, string>> {
  try {
    return ok(schema.parse(JSON.parse(await readFile(file, 'utf8'))))
  } catch (cause) {
    const what = cause instanceof z.ZodError ? firstIssueOf(cause) : messageOf(cause)
    const why = cause instanceof SyntaxError ? 'it is not JSON' : what
    return err(`${file} does not hold an answer to ${call}: ${why}`)
  }
}

const HELP = `
Whether a FILE is complete and unaltered is verified without a server or a
network. To know that a certain server signed it, pass --fingerprint or --keys
from a source that you trust. If you name the exports of a run and of its
sub-agents, or of the runs that begin from it, together, the command also
compares what they say about each other.

A store is verified run by run, and compared with its own last checkpoint.
--checkpoint also compares it with a checkpoint that you have kept (an answer to
GET /api/checkpoints/latest). This finds runs that were dropped or cut off since
then.

--witness names the key of a witness, which must have seen the run of a FILE, or
the newest checkpoint. Then nobody has rewritten what came before, even with the
key of the server. Except for a FILE, it is enough if the newest checkpoint
extends one that the witness has seen less than a minute before it was signed.

Without a server, artifacts are read from the data folder, from the log, and
from RETRAI_ARTIFACTS, so set that (and AWS_…) as for the server.

Exit codes:
  0    everything holds
  1    something does not hold; the output names the first bad record
  2    everything holds, but the signer is not a key that you trust
  3    the verification failed: no such file, no server, a wrong option; stderr
       says why. Or some artifacts cannot be read now; the output names them

Environment:
  RETRAI_TOKEN  for --server: the secret of a token, if the server needs one`

type Options = AnchorOptions &
  JsonOption & {
    readonly witness?: readonly NoteKey[]
    readonly quorum?: number
    readonly server?: string
    readonly dataDir?: string
    readonly store?: string
    readonly checkpoint?: string
  }

const VERDICT = { holds: 0, broken: 1, otherKey: 2, incomplete: 3 } as const

/** `retrai verify`: whether an export, or all runs of a store, are complete and unaltered. */
export const verifyCommand = (): Command =>
  withAnchors(new Command('verify'))
    .description('Verify exports, or all runs of a server, data folder or EventStoreDB.')
    .argument('[files...]', 'exports')
    .option('--server <url>', 'verify all runs of this server')
    .option(
      '--data-dir <folder>',
      'verify all runs of this data folder, even while a server uses it',
    )
    .option('--store <url>', 'verify all runs of the EventStoreDB at esdb://…')
    .option('--checkpoint <file>', 'a checkpoint that you have kept')
    .option('--witness <key>', 'a witness that must have seen it; may be repeated', witnessKey)
    .option('--quorum <number>', 'how many of these witnesses (default: all)', positiveInt)
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', HELP)
    .action(offline(verify))

function witnessKey(line: string, before: readonly NoteKey[] = []): readonly NoteKey[] {
  const key = readNoteKey(line, 'cosignature')
  if (key.isOk()) return [...before, key.value]
  throw new InvalidArgumentError(`It is not the key of a witness: ${key.error}.`)
}

/** The witnesses that a reader trusts; null if none is named. */
function trustedWitnesses({
  witness = [],
  quorum,
}: Options): Result<TrustedWitnesses | null, string> {
  const keys = [...new Map(witness.map((key) => [key.line, key])).values()]
  if ((quorum ?? 0) > keys.length)
    return err('--quorum asks for more witnesses than --witness names.')
  return ok(keys.length === 0 ? null : { keys, quorum: quorum ?? keys.length })
}

async function* verify(files: readonly string[], options: Options): Steps {
  const { server, dataDir, store, checkpoint } = options
  const named = [files[0], server, dataDir, store].filter((each) => each !== undefined)
  if (named.length !== 1) {
    return yield* err('Name exactly one of: files, --server, --data-dir, --store.')
  }
  const anchors = yield* await readAnchors(options)
  const witnesses = yield* trustedWitnesses(options)
  if (files.length > 0) {
    if (checkpoint !== undefined) return yield* err('--checkpoint verifies no file.')
    return yield* verifyExports(files, anchors, witnesses, options)
  }
  if (checkpoint !== undefined && witnesses !== null) {
    return yield* err(
      'Give --checkpoint or --witness, not both: a witness keeps a checkpoint, too.',
    )
  }
  const kept =
    checkpoint === undefined
      ? null
      : yield* await readAnswer(checkpoint, Checkpoint, 'GET /api/checkpoints/latest')
  // Files are verified without all that reads stores.
  const { verifyLive } = await import('./verify-live.ts')
  const report = yield* verifyLive(options, { kept, witnesses, anchors })
  const { holds, redacted } = report
  const isHidden = store !== undefined && holds && redacted.strings > 0
  const lines = [...liveLines(report), ...(isHidden ? [NOT_ERASED] : [])]
  return await printReport(report, lines, options)
}

const NOT_ERASED =
  'The EventStoreDB cannot erase, so it still holds the redacted texts. Its servers show them to nobody, and "retrai copy" leaves them out.'

async function* verifyExports(
  paths: readonly string[],
  anchors: TrustAnchors,
  witnesses: TrustedWitnesses | null,
  options: Options,
): Steps {
  const read = new Map<string, number>()
  const shares = paths.map((path) =>
    bundleFile(path, (bytes, all) => read.set(path, bytes / Math.max(all, 1))),
  )
  const found = Result.combine(await Promise.all(shares))
  const state = (): string => {
    const share = read.values().reduce((sum, each) => sum + each, 0) / paths.length
    return `Verifying … ${Math.floor(100 * share)} %`
  }
  const files = yield* found.mapErr(
    (why) => `${why} To verify a data folder, name it with --data-dir.`,
  )
  const [only] = files
  if (files.length === 1 && only !== undefined) {
    const report = await withProgress(state, verifyBundle(only(), { anchors, witnesses }))
    return await printReport(report, bundleLines(report), options)
  }
  const report = await withProgress(state, verifyFiles(files, anchors, witnesses))
  const each = report.exports.flatMap((one) => [...bundleLines(one), ''])
  return await printReport(report, [...each, ...filesLines(report)], options)
}

/** @returns the exit code */
async function printReport(
  report: Pick<LiveReport, 'holds' | 'trust' | 'findings'>,
  lines: readonly string[],
  { json }: Options,
): Promise<number> {
  if (json === true) await printJson(report)
  else for (const line of lines) await print(line)
  if (isBroken(report.findings)) return VERDICT.broken
  if (!report.holds) return VERDICT.incomplete
  return report.trust === 'not_trusted' ? VERDICT.otherKey : VERDICT.holds
}
