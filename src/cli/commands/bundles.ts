import { createWriteStream, existsSync } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Command } from 'commander'
import { err } from 'neverthrow'
import { createArtifacts } from '../../artifacts/artifacts.ts'
import {
  IMPORTS_FOLDER,
  type ImportError,
  type Imported,
  importRun,
} from '../../audit/bundle/import-run.ts'
import { bundleFile } from '../../audit/bundle/unpack.ts'
import { bundleLines } from '../../audit/verify/report-lines.ts'
import { queryOf } from '../../client/call.ts'
import { messageOf } from '../../lib/message-of.ts'
import { counted } from '../../lib/text.ts'
import { syncFolder } from '../../lib/write-durably.ts'
import { type Connection, connected, download, serverCommand } from '../connection.ts'
import { dataDirOf, openDataFolderStore, signingOf } from '../data-folder.ts'
import { io } from '../terminal/io.ts'
import { DATA_DIR } from '../terminal/option-values.ts'
import { say } from '../terminal/print.ts'
import { withProgress } from '../terminal/progress.ts'
import { type Calls, offline, PLAIN_EXIT_CODES, type Steps } from '../terminal/steps.ts'
import { type AnchorOptions, readAnchors, withAnchors } from './verify.ts'

const EXPORT_HELP = `
The file is a .tar.gz with the records, the artifacts that they name, the trees
of all snapshots and the files that differ between them, a signed proof, the
public keys and a signed manifest. "retrai verify FILE" checks it, and
docs/verification.md describes it byte by byte. A file that holds a secret is
withheld, and named in the manifest.

With --html, the file is a page for people, with the whole export in it. It opens
in a browser from the disk, without network and server, verifies the export with
the same checks, and shows what was asked, said, changed, allowed and found.
"retrai verify FILE" and "retrai import FILE" read this file as well.
${PLAIN_EXIT_CODES}`

type ExportOptions = {
  readonly inToto?: string
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
    .action(connected(exportTo))

async function* exportTo(
  connection: Connection,
  runId: string,
  file: string | undefined,
  { files = false, force = false, html, inToto, output }: ExportOptions,
): Calls {
  const named = [file, output, html, inToto].filter((name) => name !== undefined)
  if (named.length > 1) {
    return yield* err('Name one file: an archive, or the one of --html, or the one of --in-toto.')
  }
  const target = named[0] ?? `retrai-run-${runId}.tar.gz`
  const there = target === '-' ? null : await stat(target).catch(() => null)
  if (there?.isDirectory()) return yield* err(`${target} is a folder. Name a file in it.`)
  if (there?.isFile() && !force) {
    return yield* err(`${target} exists already: choose another file, or replace it with --force.`)
  }
  const format = html !== undefined ? 'html' : inToto !== undefined ? 'in-toto' : undefined
  const path = `/api/runs/${encodeURIComponent(runId)}/export${queryOf({ files, format })}`
  const archive = yield* download(connection, path)
  let bytes = 0
  archive.on('data', (chunk: Uint8Array) => {
    bytes += chunk.length
  })
  archive.pause()
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
    store,
    sign: signingOf(dataDir),
    markers: join(dataDir, IMPORTS_FOLDER),
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
