import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { err, type Result } from 'neverthrow'
import { type Artifacts, artifactsIn, copyNamed } from '../../artifacts/artifacts.ts'
import { allArtifactsOf, NAMING_KINDS } from '../../domain/named-artifacts.ts'
import { oneLine } from '../../domain/plain-text.ts'
import { counted } from '../../lib/text.ts'
import { artifactsInLog } from '../../log/artifacts-in-log.ts'
import { decode } from '../../log/codec.ts'
import { type CopyProgress, copyLog, refuseOtherLog } from '../../log/copy-log.ts'
import type { LogPages } from '../../log/stream-pages.ts'
import { guardSecrets } from '../../masking/process-mask.ts'
import { redactionIndexOf, withoutRedacted } from '../../redaction/redaction-index.ts'
import { retentionIndexOf } from '../../retention/ledger.ts'
import type { Finding } from '../../server/doctor.ts'
import { artifactsOfFolder, namedPlace } from '../../server/open-artifacts.ts'
import { readArtifactSettings, readSettings } from '../../server/read-settings.ts'
import { secretsOf } from '../../server/settings.ts'
import type { EventStore } from '../../store/event-store.ts'
import { isConnectionString } from '../../store/eventstoredb/connection-string.ts'
import { dataDirOf, openForReading, openStore } from '../data-folder.ts'
import { io } from '../terminal/io.ts'
import { DATA_DIR, type JsonOption } from '../terminal/option-values.ts'
import { type Line, print, printJson } from '../terminal/print.ts'
import { withProgress } from '../terminal/progress.ts'
import { offline, PLAIN_EXIT_CODES, type Steps } from '../terminal/steps.ts'

const COPY_HELP = `
Each place is a data folder, or the esdb://… of an EventStoreDB. Streams,
revisions, ids, data and hashes stay the same. The source may be in use; events
that are appended during the copy may need a second one. The target must be
empty or an earlier copy. After an interruption, start the same copy again: it
continues, and a copy that is complete changes nothing. Redacted texts are not
copied, even from an EventStoreDB, which cannot erase them.

The artifacts that records name are copied as well, to where a server on the
target keeps them: --artifacts or RETRAI_ARTIFACTS, or else the data folder or
the EventStoreDB.
${PLAIN_EXIT_CODES}`

/** `retrai copy`: moves a log between stores. */
export const copyCommand = (): Command =>
  new Command('copy')
    .description('Copy a log into another store, unchanged, with its artifacts.')
    .requiredOption('--from <source>', 'data folder, or esdb://…')
    .requiredOption('--to <target>', 'data folder, or esdb://…')
    .option(
      '--artifacts <place>',
      'log, a folder or s3://bucket/prefix (default: RETRAI_ARTIFACTS)',
    )
    .addHelpText('after', COPY_HELP)
    .action(offline(copy))

type Places = { readonly from: string; readonly to: string; readonly artifacts?: string }

async function* copy(places: Places): Steps {
  await using opened = new AsyncDisposableStack()
  const { reader, pages, artifacts: source, close } = yield* openForReading(places.from)
  opened.defer(close)
  const target = yield* await openStore(places.to)
  opened.defer(() => target.close())
  const artifacts = yield* artifactsOn(places, target)
  const fits = await refuseOtherLog(reader, target)
  yield* fits.mapErr(({ message }) => `${message}. Nothing was copied.`)
  const redactions = yield* (await redactionIndexOf(reader)).mapErr(({ message }) => message)
  const retention = yield* (await retentionIndexOf(reader)).mapErr(({ message }) => message)
  const named = new Set<string>()
  const isGone = (stream: string) => retention.removalIn(stream) !== undefined
  const noted = notingArtifacts(withoutRedacted(pages(), redactions, isGone), named)
  let state = ''
  const copying = copyLog(noted, target, (progress) => {
    state = sentence(progress)
  })
  const copied = await withProgress(() => `Copying … ${state}`, copying)
  const progress = yield* copied.mapErr(
    ({ message }) => `${message}. The target keeps what was copied so far: start the copy again.`,
  )
  const kept = [...named].flatMap((sha256) => redactions.packsOf(sha256))
  const done = await copyNamed(kept, source, artifacts)
  const [first] = done.failed
  if (first !== undefined) {
    const names = some(done.failed.map(({ sha256 }) => sha256))
    return yield* err(
      `The log is copied, but not these artifacts: ${names}. ${first.message}. Start the same copy again.`,
    )
  }
  const count = done.copied === 0 ? '' : `; ${counted(done.copied, 'artifact')}`
  await print(`Done: ${sentence(progress)}${count}`)
  const { missing } = done
  if (missing.length > 0) await print(`Not in the source either: artifacts ${some(missing)}.`)
}

/** Where a server on the target keeps artifacts. */
function artifactsOn({ to, artifacts }: Places, target: EventStore): Result<Artifacts, string> {
  const env = artifacts === undefined ? {} : { RETRAI_ARTIFACTS: artifacts }
  const settings = readArtifactSettings({ ...io().env, ...env })
  return settings.andThen((read) =>
    namedPlace(read).map((named) => {
      const isInLog = isConnectionString(to) || read.RETRAI_ARTIFACTS === null
      const kept = named ?? (isInLog ? artifactsInLog(target) : artifactsOfFolder(resolve(to)))
      // What was copied with the log is there already.
      return artifactsIn([kept], [artifactsInLog(target)])
    }),
  )
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
      if (!NAMING_KINDS.has(event.type)) continue
      const record = decode(event).unwrapOr(null)?.record
      for (const sha256 of record === undefined ? [] : allArtifactsOf(record)) named.add(sha256)
    }
    yield page
  }
}

function sentence({ copied, present, leftOut, streams }: CopyProgress): string {
  const others = leftOut === 0 ? '' : `, ${leftOut} of other programs left out`
  return `${counted(copied, 'event')} copied, ${present} were there already${others}; ${counted(streams, 'stream')}`
}

const BACKUP_HELP = `
The backup shows the log at one moment, is checked, and is a log of its own. To
restore it, put it as log.sqlite into an empty data folder, with a copy of the
folder "artifacts" beside it, and start the server on that folder. Back up an
EventStoreDB with the tools of EventStoreDB.
${PLAIN_EXIT_CODES}`

/** `retrai backup FILE`: copies the embedded log, even while a server uses it. */
export const backupCommand = (): Command =>
  new Command('backup')
    .description('Copy the log of a data folder to a file, even while a server uses it.')
    .argument('<file>', 'file to write')
    .option(...DATA_DIR)
    .option('--force', 'replace the file if it exists')
    .addHelpText('after', BACKUP_HELP)
    .action(offline(backup))

type BackupOptions = { readonly force?: boolean; readonly dataDir?: string }

async function* backup(target: string, { force = false, dataDir }: BackupOptions): Steps {
  const folder = yield* dataDirOf(dataDir)
  const { backupLog } = await import('../../store/embedded/existing-log.ts')
  const made = backupLog({ source: join(folder, 'log.sqlite'), target, overwrite: force })
  const { streams, events, head } = yield* made.mapErr(({ message }) => message)
  await print(
    `${target} holds ${counted(events, 'event')} in ${counted(streams, 'stream')}, up to position ${head}; checked.`,
  )
}

const DOCTOR_HELP = `
Looks at what a server with the same flags and variables would need: how
commands are isolated and limited, the programs of goals, models and keys, the
store, disk space and the data folder. It changes nothing, and needs no server.

Exit codes:
  0    nothing fails; a line may warn, or note what only some projects need
  1    something fails: the line below it says how to fix it
  3    the settings are not valid; stderr says which`

/** What comes before a finding: its verdict, or blanks. */
const INDENT = 6
const EXIT_CODE = { good: 0, failing: 1 } as const

type DoctorOptions = JsonOption & { readonly dataDir?: string; readonly store?: string }

/** `retrai doctor`: what a server would lack on this machine, and how to fix it. */
export const doctorCommand = (): Command =>
  new Command('doctor')
    .description('Check this machine for what a server needs, and say how to fix what it lacks.')
    .option(...DATA_DIR)
    .option('--store <url>', 'esdb://… of an EventStoreDB (default: as for serve)')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', DOCTOR_HELP)
    .action(offline(doctor))

async function* doctor({ json = false, ...flags }: DoctorOptions): Steps {
  const settings = yield* readSettings(flags, io().env)
  guardSecrets(secretsOf(settings))
  const { examine } = await import('../../server/doctor.ts')
  const findings = await examine(settings)
  const holds = findings.every(({ verdict }) => verdict !== 'fail')
  if (json) await printJson({ ok: holds, findings })
  else for (const line of findings.flatMap(linesOf)) await print(line)
  return holds ? EXIT_CODE.good : EXIT_CODE.failing
}

function linesOf({ name, verdict, message, fix }: Finding): Line[] {
  const head = verdict.padEnd(INDENT)
  const isBad = verdict === 'warn' || verdict === 'fail'
  // Each mistake in a file is on a line of its own.
  const [first = '', ...further] = message.split('\n')
  const line: Line = [
    isBad ? { text: head, style: 'bold' } : { text: head, style: 'dim' },
    oneLine(`${name}: ${first}`),
  ]
  const below = fix === null ? further : [...further, fix]
  return [line, ...below.map((text) => `${' '.repeat(INDENT)}${oneLine(text)}`)]
}
