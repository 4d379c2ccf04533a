import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import { copyArtifacts } from '../../artifacts/artifact-places.ts'
import { createArtifacts } from '../../artifacts/artifacts.ts'
import { artifactsInLog } from '../../artifacts/artifacts-in-log.ts'
import { pauseMs, sleep } from '../../lib/backoff.ts'
import { messageOf } from '../../lib/message-of.ts'
import { type CopyProgress, copyLog } from '../../log/copy-log.ts'
import { type LogPages, logPages } from '../../log/stream-pages.ts'
import { withoutRedacted } from '../../redaction/redaction-index.ts'
import type { EventStore } from '../../store/event-store.ts'
import { dataDirOf, isConnectionString, openEventStoreDb, openStore } from '../data-folder.ts'
import { fail, print } from '../terminal/print.ts'

const BACKUP_HELP = `
The backup shows the log at one moment, is checked, and is a log of its own. To restore it, put it as
log.sqlite into an empty data folder, with a copy of the folder "artifacts" beside it, and start the server
on that folder. Back up an EventStoreDB with the tools of EventStoreDB.`

/** `retrai backup FILE`: copies the embedded log, even while a server uses it. */
export function backupCommand(): Command {
  return new Command('backup')
    .description('Copy the log of a data folder to a file, even while a server uses it.')
    .argument('<file>', 'file to write')
    .option('--data-dir <folder>', 'the data folder (default: as for serve)')
    .option('--force', 'replace the file if it exists')
    .addHelpText('after', BACKUP_HELP)
    .action(backup)
}

async function backup(
  target: string,
  { force, dataDir }: { readonly force?: boolean; readonly dataDir?: string },
): Promise<void> {
  const folder = dataDirOf(dataDir)
  if (folder.isErr()) return fail(...folder.error.split('\n'))
  const { backupLog } = await import('../../store/embedded/backup.ts')
  const source = join(folder.value, 'log.sqlite')
  const made = await backupLog({ source, target, overwrite: force === true })
  if (made.isErr()) return fail(made.error.message)
  const { streams, events, head } = made.value
  await print(
    `${target} holds ${events} events in ${streams} streams, up to position ${head}; checked.`,
  )
}

const COPY_HELP = `
SOURCE and TARGET are each a data folder, or the esdb://… of an EventStoreDB. Streams, revisions, ids, data
and hashes stay the same. The source may be in use; events that are appended during the copy may need a
second one. The target must be empty or an earlier copy. After an interruption, start the same copy again:
it continues, and a copy that is complete changes nothing. Redacted texts are not copied, even from an
EventStoreDB, which cannot erase them. The artifacts of a data folder are copied as well.`

/** A lost target is tried again for about a minute. */
const ATTEMPTS = 14
const PAUSES_MS = [100, 8_000] as const
const PROGRESS_EVERY_MS = 1_000

/** `retrai copy`: moves a log between stores. */
export function copyCommand(): Command {
  return new Command('copy')
    .description('Copy a log into another store, unchanged.')
    .requiredOption('--from <source>', 'data folder, or esdb://…')
    .requiredOption('--to <target>', 'data folder, or esdb://…')
    .addHelpText('after', COPY_HELP)
    .action(copy)
}

type Source = {
  readonly pages: LogPages
  readonly reader: Pick<EventStore, 'readStream'>
  close(): Promise<void>
}

type Places = { readonly from: string; readonly to: string }

async function copy(options: Places): Promise<void> {
  const source = await openSource(options.from)
  if (source.isErr()) return fail(source.error)
  const target = await openStore(options.to)
  if (target.isErr()) {
    await source.value.close()
    return fail(target.error)
  }
  const pages = withoutRedacted(source.value.pages, source.value.reader)
  const copied = await copyLog(pages, target.value, {
    onProgress: printer(),
    retry: retryAfterPause,
  })
  const artifactsCopied = copied.isErr() ? ok(0) : await copyArtifactsOf(options, target.value)
  await Promise.all([source.value.close(), target.value.close()])
  if (copied.isErr())
    return fail(`${copied.error.message}. The target keeps what was copied so far.`)
  if (artifactsCopied.isErr()) return fail(artifactsCopied.error)
  const count = artifactsCopied.value
  await print(`Done: ${sentence(copied.value)}${count === 0 ? '' : `; ${count} artifacts`}`)
}

/** Copies the artifacts of a data folder to where a server on the target reads them. */
function copyArtifactsOf({ from, to }: Places, target: EventStore): ResultAsync<number, string> {
  // An EventStoreDB holds artifacts in its log.
  if (isConnectionString(from)) return okAsync(0)
  const folderOf = (place: string) => createArtifacts(join(resolve(place), 'artifacts'))
  const kept = isConnectionString(to) ? artifactsInLog(target) : folderOf(to)
  return ResultAsync.fromPromise(
    copyArtifacts(folderOf(from), kept),
    (cause) =>
      `The log is copied, but not all artifacts: ${messageOf(cause)}. Start the same copy again.`,
  )
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
  return `${copied} events copied, ${present} were there already${others}; ${streams} streams`
}
