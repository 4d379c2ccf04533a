import { createWriteStream, existsSync } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Command } from 'commander'
import { err, errAsync, ok, ResultAsync } from 'neverthrow'
import { createArtifacts } from '../../artifacts/artifacts.ts'
import { createAudit } from '../../audit/audit.ts'
import { evidencePages } from '../../audit/bundle/evidence-file.ts'
import {
  IMPORTS_FOLDER,
  type ImportError,
  type Imported,
  importRun,
} from '../../audit/bundle/import-run.ts'
import { bundleFile } from '../../audit/bundle/unpack.ts'
import { OwnLog } from '../../checkpoints/witness/own-log.ts'
import { queryOf } from '../../client/call.ts'
import type { RunRecord } from '../../domain/records.ts'
import { titleOf } from '../../domain/texts.ts'
import { removedProblem } from '../../http/problems/problem-of.ts'
import { messageOf } from '../../lib/message-of.ts'
import { counted } from '../../lib/text.ts'
import { syncFolder } from '../../lib/write-durably.ts'
import { decode } from '../../log/codec.ts'
import { guardSecrets } from '../../log/masking.ts'
import type { LogPages, StreamReader } from '../../log/stream-pages.ts'
import { redactionIndexOf, withoutRedacted } from '../../redaction/redaction-index.ts'
import { retentionIndexOf } from '../../retention/ledger.ts'
import { readServerId } from '../../server/data-folder.ts'
import { readSettings } from '../../server/read-settings.ts'
import { secretsOf } from '../../server/settings.ts'
import { readWitnessFile } from '../../server/witnessing.ts'
import {
  type Connection,
  connect,
  download,
  type ListRuns,
  runIdOf,
  runsOf,
  serverCommand,
} from '../connection.ts'
import {
  dataDirOf,
  keyringOf,
  openDataFolderStore,
  openForReading,
  signingOf,
} from '../data-folder.ts'
import { io } from '../terminal/io.ts'
import { DATA_DIR } from '../terminal/option-values.ts'
import { say } from '../terminal/print.ts'
import { withProgress } from '../terminal/progress.ts'
import { bundleLines } from '../terminal/report-lines.ts'
import { offline, PLAIN_EXIT_CODES, type Steps } from '../terminal/steps.ts'
import { type AnchorOptions, readAnchors, withAnchors } from './verify.ts'

const EXPORT_HELP = `
The file is a .tar.gz with the records, the artifacts that they name, the trees
of all snapshots and the files that differ between them, a signed proof, the
public keys and a signed manifest. "retrai verify FILE" checks it, and
docs/verification.md describes it byte by byte. A file that holds a secret is
withheld, and named in the manifest. With --data-dir the log is read from the
folder, even while a server uses it, and signed with its key. Its files are
searched for secrets of known shapes and for those that the variables of this
command hold, so set them as for the server.

With --html, the file is a page for people, with the whole export in it. It opens
in a browser from the disk, without network and server, verifies the export with
the same checks, and shows what was asked, said, changed, allowed and found.
"retrai verify FILE" and "retrai import FILE" read this file as well.
${PLAIN_EXIT_CODES}`

type ExportOptions = {
  readonly inToto?: string
  readonly server?: string
  readonly dataDir?: string
  readonly files?: boolean
  readonly force?: boolean
  readonly html?: string
  readonly output?: string
}

/** `retrai export RUN`: writes a run to one file that can be verified offline. */
export const exportCommand = (): Command =>
  serverCommand('export', EXPORT_HELP)
    .description('Export a run as one file that can be verified without the server.')
    .argument('<run>', 'the id of the run')
    .argument('[file]', 'the file to write (default retrai-run-<id>.tar.gz; - for stdout)')
    .option('-o, --output <file>', 'the file to write, instead of the argument')
    .option('--html <file>', 'write a page for a browser, with the export in it')
    .option('--files', 'also all files of the first and the last snapshot')
    .option('--in-toto <file>', 'instead, write the result as a signed statement of in-toto')
    .option('--force', 'replace the file if it exists')
    .option('--data-dir <folder>', 'read this data folder instead of a server')
    .action(offline(exportTo))

async function* exportTo(given: string, file: string | undefined, options: ExportOptions): Steps {
  const { dataDir, files = false, force = false, html, inToto, output } = options
  const named = [file, output, html, inToto].filter((name) => name !== undefined)
  if (named.length > 1) {
    return yield* err('Name one file: an archive, or the one of --html, or the one of --in-toto.')
  }
  const wanted = { files, ...(inToto !== undefined && { format: 'in-toto' as const }) }
  const pageOf = html === undefined ? null : yield* await evidencePages()
  await using open = new AsyncDisposableStack()
  const source = yield* dataDir === undefined
    ? connect(options).map(overRest)
    : inFolder(dataDir, open)
  const runId = (yield* runIdOf(source.runs, given)).toLowerCase()
  const target = named[0] ?? `retrai-run-${runId}.tar.gz`
  const there = target === '-' ? null : await stat(target).catch(() => null)
  if (there?.isDirectory()) return yield* err(`${target} is a folder. Name a file in it.`)
  if (there?.isFile() && !force) {
    return yield* err(`${target} exists already: choose another file, or replace it with --force.`)
  }
  const exported = yield* await source.export(runId, wanted)
  let bytes = 0
  exported.on('data', (chunk: Uint8Array) => {
    bytes += chunk.length
  })
  exported.pause()
  const archive = pageOf === null ? exported : pageOf(exported)
  const state = () => `Exporting … ${(bytes / 1024 / 1024).toFixed(1)} MiB`
  try {
    if (target === '-') await pipeline(archive, io().stdout, { end: false })
    // A device or a pipe, which must not be replaced by a file.
    else if (there?.isFile() === false) await pipeline(archive, createWriteStream(target))
    else await withProgress(state, toFile(archive, target))
  } catch (cause) {
    const reason = messageOf(cause)
    return yield* err(`The export could not be finished: ${reason}. No file was written.`)
  }
  const check = inToto === undefined ? ` To check it: retrai verify ${target}` : ''
  if (target !== '-') say(`${target} is written.${check}`)
}

/** What is exported of a run. */
type Wanted = { readonly files: boolean; readonly format?: 'in-toto' }

/** Where runs are exported from. The errors are texts for people. */
type Source = {
  readonly runs: ListRuns
  export(runId: string, wanted: Wanted): ResultAsync<Readable, string>
}

const overRest = (connection: Connection): Source => ({
  runs: runsOf(connection),
  export: (runId, wanted) => {
    const path = `/api/runs/${encodeURIComponent(runId)}/export${queryOf(wanted)}`
    return download(connection, path).mapErr(connection.explain)
  },
})

/** @param open closes the log when the export is over */
async function* inFolder(given: string, open: AsyncDisposableStack): Steps<Source> {
  const dir = yield* dataDirOf(given)
  const settings = yield* readSettings({ dataDir: dir }, io().env)
  guardSecrets(secretsOf(settings))
  const witnesses = yield* await readWitnessFile(settings.RETRAI_WITNESSES)
  const { reader, pages, artifacts, close } = yield* openForReading(dir)
  open.defer(close)
  const keyring = yield* await keyringOf(dir)
  const index = yield* (await redactionIndexOf(reader)).mapErr(({ message }) => message)
  const retention = yield* (await retentionIndexOf(reader)).mapErr(({ message }) => message)
  const isGone = (stream: string) => retention.removalIn(stream) !== undefined
  const store: StreamReader = {
    readStream: (stream, options) =>
      reader.readStream(stream, options).map((page) => page.map((event) => index.apply(event))),
  }
  const clock = () => new Date()
  const serverId = await readServerId(dir)
  const needed = witnesses?.quorum ?? 1
  const ownLog = serverId === null ? undefined : new OwnLog({ store, keyring, serverId, needed })
  const audit = createAudit({ store, artifacts, keyring, clock, ownLog })
  return {
    runs: () => runsIn(withoutRedacted(pages(), index, isGone)),
    export: (runId, { files, format }) => {
      const removal = retention.removals.get(runId)
      if (removal !== undefined) return errAsync(removedProblem(removal).detail)
      const exported =
        format === undefined
          ? audit.exportRun(runId, files)
          : audit.inToto(runId).map((text) => Readable.from([text]))
      return exported.mapErr((error) =>
        error.type === 'stream_not_found' ? `There is no run ${runId} in ${given}.` : error.message,
      )
    },
  }
}

/** The runs of a log that no agent has started come first. */
function runsIn(pages: LogPages): ReturnType<ListRuns> {
  const read = async () => {
    const runs: Extract<RunRecord, { kind: 'run_created' }>[] = []
    for await (const page of pages) {
      if (page.isErr()) return err(page.error.message)
      const first = page.value.filter(({ type }) => type === 'run_created')
      const records = first.map((event) => decode(event).unwrapOr(null)?.record)
      runs.push(...records.filter((record) => record?.kind === 'run_created'))
    }
    const isTop = ({ payload }: (typeof runs)[number]) => Number(payload.parent === undefined)
    runs.sort((one, other) => isTop(other) - isTop(one) || other.ts - one.ts)
    const titled = runs.map(({ run_id, payload: { instructions, config } }) => {
      return { run_id, title: titleOf(instructions) ?? config.goal }
    })
    return ok(titled)
  }
  return new ResultAsync(read())
}

/** Writes a file, which gets its name only when it is complete. Until then, an earlier file stays. */
export async function toFile(archive: Readable, target: string): Promise<void> {
  const part = `${target}.${process.pid}.part`
  try {
    await pipeline(archive, createWriteStream(part, { flush: true }))
    await rename(part, target)
    await syncFolder(dirname(target))
  } catch (cause) {
    await rm(part, { force: true })
    throw cause
  }
}

const IMPORT_HELP = `
The import writes the run into the log of the data folder, with the same ids,
data, metadata and hashes, and copies its artifacts. First it verifies the file.
It refuses a run that had not ended at the time of the export, because a server
would continue it.

Stop the server of the data folder first. After an interruption, start the same
import again: it continues. A run that the log has already is not imported.
Keep the file: the proof in it is from the other server, and this server signs
only its own.
${PLAIN_EXIT_CODES}`

type ImportOptions = AnchorOptions & { readonly dataDir?: string }

/** `retrai import FILE`: imports the run of an export into the log of a stopped server. */
export const importCommand = (): Command =>
  withAnchors(new Command('import'))
    .description('Import the run of an export into a data folder, as a run that can only be read.')
    .argument('<file>', 'an export')
    .option(...DATA_DIR)
    .addHelpText('after', IMPORT_HELP)
    .action(offline(importFrom))

async function* importFrom(file: string, options: ImportOptions): Steps {
  const dataDir = yield* dataDirOf(options.dataDir)
  say(...sentences({ ...(yield* importInto(dataDir, file, options)), dataDir }))
}

/** Imports the run of an export into the log of a data folder that no server uses. */
export async function* importInto(
  dataDir: string,
  file: string,
  options: AnchorOptions,
): Steps<Imported> {
  const anchors = yield* await readAnchors(options)
  const bundle = yield* await bundleFile(file)
  await using opened = new AsyncDisposableStack()
  const store = yield* await openDataFolderStore(dataDir)
  opened.defer(() => store.close())
  const deps = {
    ...{ store, sign: signingOf(dataDir), markers: join(dataDir, IMPORTS_FOLDER) },
    artifacts: createArtifacts(join(dataDir, 'artifacts')),
    now: () => Date.now() / 1000,
  }
  const imported = await importRun(deps, bundle, anchors)
  if (imported.isErr() && imported.error.type === 'refused') {
    say(...bundleLines(imported.error.report))
  }
  return yield* imported.mapErr(explain)
}

/** Why an import did not happen, as a sentence. */
function explain(error: ImportError): string {
  switch (error.type) {
    case 'refused':
      return 'The export does not hold, so nothing was done with it.'
    case 'not_complete': {
      const { run_id, verified } = error.report
      return `The run ${run_id} had not ended when it was exported, after ${verified} records. Only complete runs can be imported: export it again after its end.`
    }
    case 'is_here':
      return `The log has the run ${error.runId}, so nothing was imported. If something was redacted from it elsewhere, redact it here, too.`
    case 'was_removed': {
      const { run_id, removed_at, rule } = error.removal
      return `Nothing was imported: this log removed the run ${run_id} at ${removed_at} by the rule "${rule}", and that stays true. Import it into another data folder.`
    }
    case 'store_unavailable':
    case 'store_failed':
    case 'outcome_unknown':
    case 'artifact_failed':
      return `The import could not be finished: ${error.message}. Start it again.`
    case 'other_content':
      return `Nothing more was imported: ${error.message}.`
  }
}

function sentences(imported: Imported & { readonly dataDir: string }): string[] {
  const { runId, records, present, artifacts, dataDir } = imported
  const there = present === 0 ? '' : ` (${present} were there already)`
  const counts = `${counted(records, 'record')}${there}, ${counted(artifacts, 'artifact')}`
  const done = `Run ${runId} is imported into the log of ${dataDir}: ${counts}.`
  // A server makes this file when it starts for the first time.
  if (existsSync(join(dataDir, 'server-id'))) return [done]
  return [
    done,
    'WARNING: No server has ever served this folder. If you mean that of your server, name it with --data-dir.',
  ]
}
