import { join, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Command } from 'commander'
import type { Result } from 'neverthrow'
import { type CopyProgress, copyLog } from '../../log/copy-log.ts'
import { type LogPages, logPages } from '../../log/stream-pages.ts'
import { withoutRedacted } from '../../redaction/redaction-index.ts'
import type { EventStore } from '../../store/event-store.ts'
import { isConnectionString, openEventStoreDb, openStore } from '../data-folder.ts'
import { fail, print } from '../terminal/print.ts'

const HELP = `
SOURCE and TARGET are a data folder or the esdb://… of an EventStoreDB. Streams, revisions, ids, data and
hashes stay the same. The source may be in use; what is appended meanwhile may need another copy. The
target must be empty or an earlier copy. A copy that was interrupted goes on when it is started again,
and one that is made again changes nothing. What was redacted is copied without the text, also out of an
EventStoreDB, which cannot let go of it itself. The folder "artifacts" is not copied.`

/** Attempts to reach a target that went away, about a minute of them. */
const ATTEMPTS = 12
const LONGEST_PAUSE_MS = 8_000
const PROGRESS_EVERY_MS = 1_000

/** `retrai copy`: moves a log between stores. */
export function copyCommand(): Command {
  return new Command('copy')
    .description('Copy a log into another store, as it is.')
    .requiredOption('--from <source>', 'data folder, or esdb://…')
    .requiredOption('--to <target>', 'data folder, or esdb://…')
    .addHelpText('after', HELP)
    .action(run)
}

type Source = {
  readonly pages: LogPages
  readonly reader: Pick<EventStore, 'readStream'>
  close(): Promise<void>
}

async function run(options: { readonly from: string; readonly to: string }): Promise<void> {
  const source = await openSource(options.from)
  if (source.isErr()) return fail(source.error)
  const target = await openStore(options.to)
  if (target.isErr()) {
    await source.value.close()
    return fail(target.error)
  }
  const pages = withoutRedacted(source.value.pages, source.value.reader)
  const copied = await copyLog(pages, target.value, { onProgress: printer(), retry })
  await Promise.all([source.value.close(), target.value.close()])
  if (copied.isErr()) return fail(`${copied.error.message}. What was copied so far stays.`)
  await print(`Done: ${sentence(copied.value)}`)
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

async function retry(failures: number): Promise<boolean> {
  if (failures >= ATTEMPTS) return false
  await setTimeout(Math.min(LONGEST_PAUSE_MS, 100 * 2 ** failures))
  return true
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
  return `${copied} events copied, ${present} there already${others}; ${streams} streams`
}
