import { createWriteStream, existsSync } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { createArtifacts } from '../../artifacts/artifacts.ts'
import { createAudit } from '../../audit/audit.ts'
import {
  IMPORTS_FOLDER,
  type ImportError,
  type Imported,
  importRun,
} from '../../audit/bundle/import-run.ts'
import { counted } from '../../lib/counted.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import { redactionIndexOf } from '../../redaction/redaction-index.ts'
import { bundleFile } from '../bundle-file.ts'
import { download, endingWith, serverCommand } from '../connection.ts'
import {
  dataDirOf,
  keyringOf,
  openDataFolder,
  openDataFolderStore,
  signingOf,
} from '../data-folder.ts'
import { EXIT, PLAIN_EXIT_CODES } from '../terminal/exit-codes.ts'
import { DATA_DIR } from '../terminal/option-values.ts'
import { say } from '../terminal/print.ts'
import { bundleLines } from '../terminal/report-lines.ts'
import { type AnchorOptions, readAnchors, withAnchors } from './anchors.ts'

const EXPORT_HELP = `
The file is a .tar.gz with the records, the artifacts that they name, a signed proof, the public keys and
a signed manifest. "retrai verify FILE" checks it, and docs/verification.md describes it byte by byte.
With --data-dir the log is read from the folder, even while a server uses it, and signed with its key.
${PLAIN_EXIT_CODES}`

type ExportOptions = {
  readonly output?: string
  readonly server?: string
  readonly dataDir?: string
  readonly force?: boolean
}

/** `retrai export RUN`: writes a run to one file that can be verified offline. */
export function exportCommand(): Command {
  return serverCommand('export', EXPORT_HELP)
    .description('Export a run as one file that can be verified without the server.')
    .argument('<run>', 'the id of the run')
    .option(
      '-o, --output <file>',
      'the file to write (default retrai-run-<id>.tar.gz; - for stdout)',
    )
    .option('--force', 'replace the file if it exists')
    .option('--data-dir <folder>', 'read this data folder instead of a server')
    .action((runId: string, options: ExportOptions) =>
      endingWith(() => exportTo(runId.toLowerCase(), options)),
    )
}

async function exportTo(runId: string, options: ExportOptions): Promise<Result<number, string>> {
  const target = options.output ?? `retrai-run-${runId}.tar.gz`
  const there = target === '-' ? null : await stat(target).catch(() => null)
  if (there?.isDirectory()) return err(`${target} is a folder. Name a file in it.`)
  if (there?.isFile() && options.force !== true) {
    return err(`${target} exists already: choose another file, or replace it with --force.`)
  }
  const opened = await (options.dataDir === undefined
    ? fromServer(runId, options)
    : fromFolder(runId, options.dataDir))
  if (opened.isErr()) return err(opened.error)
  const { archive, close } = opened.value
  try {
    if (target === '-') await pipeline(archive, process.stdout, { end: false })
    // A device or a pipe, which must not be replaced by a file.
    else if (there?.isFile() === false) await pipeline(archive, createWriteStream(target))
    else await toFile(archive, target)
    if (target !== '-') say(`${target} is written. To check it: retrai verify ${target}`)
    return ok(EXIT.done)
  } catch (cause) {
    const reason = messageOf(cause)
    return err(`The export could not be finished: ${reason}. No file was written.`)
  } finally {
    await close()
  }
}

type Opened = { readonly archive: Readable; close(): Promise<void> }

async function fromServer(runId: string, options: ExportOptions): Promise<Result<Opened, string>> {
  const got = await download(options, `/api/runs/${encodeURIComponent(runId)}/export`)
  return got.map((archive) => ({ archive, close: async () => {} })).mapErr(({ message }) => message)
}

async function fromFolder(runId: string, given: string): Promise<Result<Opened, string>> {
  const dir = dataDirOf(given)
  if (dir.isErr()) return err(dir.error)
  const folder = await openDataFolder(dir.value)
  const keyring = folder.isErr() ? err(folder.error) : await keyringOf(dir.value)
  if (folder.isErr()) return err(folder.error)
  const { log, artifacts } = folder.value
  if (keyring.isErr()) {
    await log.close()
    return err(keyring.error)
  }
  const runs = { get: () => null }
  const index = await redactionIndexOf(log)
  if (index.isErr()) {
    await log.close()
    return err(index.error.message)
  }
  const store: StreamReader = {
    readStream: (stream, options) =>
      log.readStream(stream, options).map((page) => page.map((event) => index.value.apply(event))),
  }
  const audit = createAudit({
    store,
    runs,
    keyring: keyring.value,
    artifacts,
    clock: () => new Date(),
  })
  const archive = await audit.exportRun(runId)
  if (archive.isOk()) return ok({ archive: archive.value, close: () => log.close() })
  await log.close()
  const { error } = archive
  return err(
    error.type === 'stream_not_found' ? `There is no run ${runId} in ${given}.` : error.message,
  )
}

/** Writes a file, which gets its name only when it is complete. Until then, an earlier file stays. */
async function toFile(archive: Readable, target: string): Promise<void> {
  const part = `${target}.${process.pid}.part`
  try {
    await pipeline(archive, createWriteStream(part, { flush: true }))
    await rename(part, target)
  } catch (cause) {
    await rm(part, { force: true })
    throw cause
  }
}

const IMPORT_HELP = `
The import writes the run into the log of the data folder, with the same ids, data, metadata and hashes, and
copies its artifacts. First it verifies the file. It refuses a run that had not ended at the time of the
export, because a server would continue it.

Stop the server of the data folder first. After an interruption, start the same import again: it continues,
and an import that is complete changes nothing. If the log has another run with the same id, the import is
refused. Keep the file: the proof in it is from the other server, and this server signs only its own.
${PLAIN_EXIT_CODES}`

type ImportOptions = AnchorOptions & { readonly dataDir?: string }

/** `retrai import FILE`: imports the run of an export into the log of a stopped server. */
export function importCommand(): Command {
  return withAnchors(new Command('import'))
    .description('Import the run of an export into a data folder, as a run that can only be read.')
    .argument('<file>', 'an export')
    .option(...DATA_DIR)
    .addHelpText('after', IMPORT_HELP)
    .action(async (file: string, options: ImportOptions) => {
      const done = await importFrom(file, options)
      if (done.isErr()) say(...done.error)
      else say(...sentences(done.value))
      process.exitCode = done.isOk() ? EXIT.done : EXIT.notDone
    })
}

async function importFrom(
  file: string,
  options: ImportOptions,
): Promise<Result<Imported & { readonly dataDir: string }, readonly string[]>> {
  const anchors = await readAnchors(options)
  if (anchors.isErr()) return err(lines(anchors.error))
  const bundle = await bundleFile(file)
  if (bundle.isErr()) return err(lines(bundle.error))
  const dir = dataDirOf(options.dataDir)
  if (dir.isErr()) return err(lines(dir.error))
  const store = await openDataFolderStore(dir.value)
  if (store.isErr()) return err(lines(store.error))
  const artifacts = createArtifacts(join(dir.value, 'artifacts'))
  const deps = {
    store: store.value,
    sign: signingOf(dir.value),
    putArtifact: artifacts.put,
    markers: join(dir.value, IMPORTS_FOLDER),
    now: () => Date.now() / 1000,
  }
  const imported = await importRun(deps, bundle.value, anchors.value)
  await store.value.close()
  if (imported.isErr()) return err(explain(imported.error))
  return ok({ ...imported.value, dataDir: dir.value })
}

const lines = (message: string): readonly string[] => [`retrai: ${message}`]

function explain(error: ImportError): readonly string[] {
  switch (error.type) {
    case 'refused':
      return [...lines('Nothing was imported.'), ...bundleLines(error.report)]
    case 'not_complete': {
      const { run_id, verified } = error.report
      return lines(
        `The run ${run_id} had not ended when it was exported, after ${verified} records. Only complete runs can be imported: export it again after its end.`,
      )
    }
    case 'store_unavailable':
    case 'store_failed':
    case 'outcome_unknown':
    case 'artifact_failed':
      return lines(`The import could not be finished: ${error.message}. Start it again.`)
    case 'other_content':
      return lines(`Nothing more was imported: ${error.message}.`)
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
