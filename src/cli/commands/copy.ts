import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { err, ok, Result } from 'neverthrow'
import { artifactsIn, type CopiedArtifacts, copyNamed } from '../../artifacts/artifact-places.ts'
import { artifactsInLog } from '../../artifacts/artifacts-in-log.ts'
import { artifactOf } from '../../audit/verify/verify-run.ts'
import { pauseMs, sleep } from '../../lib/backoff.ts'
import { counted } from '../../lib/counted.ts'
import { decode } from '../../log/codec.ts'
import { type CopyProgress, copyLog, refuseOtherLog } from '../../log/copy-log.ts'
import { type LogPages, logPages, type StreamReader } from '../../log/stream-pages.ts'
import { redactionIndexOf, withoutRedacted } from '../../redaction/redaction-index.ts'
import { artifactsOfFolder, namedPlace } from '../../server/open-artifacts.ts'
import { readArtifactSettings } from '../../server/read-settings.ts'
import type { EventStore } from '../../store/event-store.ts'
import { endingWith } from '../connection.ts'
import {
  artifactsAround,
  dataDirOf,
  isConnectionString,
  openEventStoreDb,
  openStore,
} from '../data-folder.ts'
import { EXIT, PLAIN_EXIT_CODES } from '../terminal/exit-codes.ts'
import { DATA_DIR } from '../terminal/option-values.ts'
import { print } from '../terminal/print.ts'

const HELP = `
SOURCE and TARGET are each a data folder, or the esdb://… of an EventStoreDB. Streams, revisions, ids, data
and hashes stay the same. The source may be in use; events that are appended during the copy may need a
second one. The target must be empty or an earlier copy. After an interruption, start the same copy again:
it continues, and a copy that is complete changes nothing. Redacted texts are not copied, even from an
EventStoreDB, which cannot erase them.

The artifacts that records name are copied as well, if the target does not have them. They are read from the
source and from the folder or the bucket of RETRAI_ARTIFACTS, and kept where a server on the target keeps
them: in that same place if RETRAI_ARTIFACTS names one, or else in the data folder or in the EventStoreDB.
--artifacts names another place, as RETRAI_ARTIFACTS of the server on the target will.
${PLAIN_EXIT_CODES}`

/** A lost target is tried again for about a minute. */
const ATTEMPTS = 14
const PAUSES_MS = [100, 8_000] as const
const PROGRESS_EVERY_MS = 1_000

/** `retrai copy`: moves a log between stores. */
export function copyCommand(): Command {
  return new Command('copy')
    .description('Copy a log into another store, unchanged, with its artifacts.')
    .requiredOption('--from <source>', 'data folder, or esdb://…')
    .requiredOption('--to <target>', 'data folder, or esdb://…')
    .option(
      '--artifacts <place>',
      'log, a folder or s3://bucket/prefix (default: RETRAI_ARTIFACTS)',
    )
    .addHelpText('after', HELP)
    .action((places: Places) => endingWith(() => copy(places)))
}

type Source = { readonly pages: LogPages; readonly reader: StreamReader; close(): Promise<void> }

type Places = { readonly from: string; readonly to: string; readonly artifacts?: string }

async function copy(places: Places): Promise<Result<number, string>> {
  const source = await openSource(places.from)
  if (source.isErr()) return err(source.error)
  const target = await openStore(places.to)
  if (target.isErr()) {
    await source.value.close()
    return err(target.error)
  }
  const copied = await copyAll(places, source.value, target.value)
  await Promise.all([source.value.close(), target.value.close()])
  if (copied.isErr()) return err(copied.error)
  const { progress, artifacts } = copied.value
  const count = artifacts.copied === 0 ? '' : `; ${counted(artifacts.copied, 'artifact')}`
  await print(`Done: ${sentence(progress)}${count}`)
  const { missing } = artifacts
  if (missing.length > 0) await print(`Not in the source either: artifacts ${some(missing)}.`)
  return ok(EXIT.done)
}

type Copied = { readonly progress: CopyProgress; readonly artifacts: CopiedArtifacts }

async function copyAll(
  places: Places,
  { pages, reader }: Source,
  target: EventStore,
): Promise<Result<Copied, string>> {
  const artifacts = artifactsBetween(places, reader, target)
  if (artifacts.isErr()) return err(artifacts.error)
  const fits = await refuseOtherLog(reader, target)
  if (fits.isErr()) return err(`${fits.error.message}. Nothing was copied.`)
  const redactions = await redactionIndexOf(reader)
  if (redactions.isErr()) return err(redactions.error.message)
  const named = new Set<string>()
  const noted = notingArtifacts(withoutRedacted(pages, redactions.value), named)
  const copied = await copyLog(noted, target, { onProgress: printer(), retry: retryAfterPause })
  if (copied.isErr()) {
    return err(`${copied.error.message}. The target keeps what was copied so far.`)
  }
  const kept = [...named].filter((sha256) => !redactions.value.hasRedactedArtifact(sha256))
  const { from, to } = artifacts.value
  const done = await copyNamed(kept, from, to)
  const [first] = done.failed
  if (first === undefined) return ok({ progress: copied.value, artifacts: done })
  return err(
    `The log is copied, but not these artifacts: ${some(done.failed.map(({ sha256 }) => sha256))}. ${first.message}. Start the same copy again.`,
  )
}

/** Where the artifacts of the source are read, and where a server on the target keeps them. */
function artifactsBetween(
  { from, to, artifacts }: Places,
  reader: StreamReader,
  target: EventStore,
) {
  const env = artifacts === undefined ? {} : { RETRAI_ARTIFACTS: artifacts }
  const settings = readArtifactSettings({ ...process.env, ...env })
  const kept = settings.andThen((read) =>
    namedPlace(read).map((named) => {
      const isInLog = isConnectionString(to) || read.RETRAI_ARTIFACTS === null
      return named ?? (isInLog ? artifactsInLog(target) : artifactsOfFolder(resolve(to)))
    }),
  )
  const dataDir = isConnectionString(from) ? null : resolve(from)
  return Result.combine([kept, artifactsAround({ dataDir, reader })]).map(([kept, source]) => {
    // What was copied with the log is there already.
    return { from: source, to: artifactsIn([kept], [artifactsInLog(target)]) }
  })
}

/** How many names a message lists. */
const MAX_NAMED = 5

function some(names: readonly string[]): string {
  const more = names.length - MAX_NAMED
  return `${names.slice(0, MAX_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** Adds the artifacts that records name to `named`, while somebody reads the pages. */
async function* notingArtifacts(pages: LogPages, named: Set<string>): LogPages {
  for await (const page of pages) {
    for (const event of page.unwrapOr([])) {
      if (event.type !== 'tool_result') continue
      const artifact = decode(event).map(artifactOf).unwrapOr(null)
      if (artifact !== null) named.add(artifact)
    }
    yield page
  }
}

async function openSource(place: string): Promise<Result<Source, string>> {
  if (isConnectionString(place)) {
    const store = await openEventStoreDb(place)
    return store.map((opened) => {
      return { pages: logPages(opened), reader: opened, close: () => opened.close() }
    })
  }
  const { openReadableLog } = await import('../../store/embedded/existing-log.ts')
  const log = await openReadableLog(join(resolve(place), 'log.sqlite'))
  return log
    .map((opened) => ({ pages: opened.pages(), reader: opened, close: () => opened.close() }))
    .mapErr(({ message }) => message)
}

async function retryAfterPause(failures: number): Promise<boolean> {
  return failures < ATTEMPTS && (await sleep(pauseMs(PAUSES_MS, failures)))
}

function printer(): (progress: CopyProgress) => void {
  let printed = performance.now()
  return (progress) => {
    if (performance.now() - printed < PROGRESS_EVERY_MS) return
    printed = performance.now()
    void print(sentence(progress))
  }
}

function sentence({ copied, present, leftOut, streams }: CopyProgress): string {
  const others = leftOut === 0 ? '' : `, ${leftOut} of other programs left out`
  return `${counted(copied, 'event')} copied, ${present} were there already${others}; ${counted(streams, 'stream')}`
}

const BACKUP_HELP = `
The backup shows the log at one moment, is checked, and is a log of its own. To restore it, put it as
log.sqlite into an empty data folder, with a copy of the folder "artifacts" beside it, and start the server
on that folder. Back up an EventStoreDB with the tools of EventStoreDB.
${PLAIN_EXIT_CODES}`

/** `retrai backup FILE`: copies the embedded log, even while a server uses it. */
export function backupCommand(): Command {
  return new Command('backup')
    .description('Copy the log of a data folder to a file, even while a server uses it.')
    .argument('<file>', 'file to write')
    .option(...DATA_DIR)
    .option('--force', 'replace the file if it exists')
    .addHelpText('after', BACKUP_HELP)
    .action((file: string, options: BackupOptions) => endingWith(() => backup(file, options)))
}

type BackupOptions = { readonly force?: boolean; readonly dataDir?: string }

async function backup(
  target: string,
  { force, dataDir }: BackupOptions,
): Promise<Result<number, string>> {
  const folder = dataDirOf(dataDir)
  if (folder.isErr()) return err(folder.error)
  const { backupLog } = await import('../../store/embedded/backup.ts')
  const source = join(folder.value, 'log.sqlite')
  const made = await backupLog({ source, target, overwrite: force === true })
  if (made.isErr()) return err(made.error.message)
  const { streams, events, head } = made.value
  await print(
    `${target} holds ${counted(events, 'event')} in ${counted(streams, 'stream')}, up to position ${head}; checked.`,
  )
  return ok(EXIT.done)
}
