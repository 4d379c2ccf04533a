import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { err, type ResultAsync } from 'neverthrow'
import { LOCAL } from '../../api/auth.ts'
import { type RetainedRun, RetainRuns, RetentionPolicy } from '../../api/retention.ts'
import { bundleFile } from '../../audit/bundle/unpack.ts'
import { verifyBundle } from '../../audit/verify/verify-bundle.ts'
import { NO_ANCHORS } from '../../checkpoints/public-keys.ts'
import { oneLine } from '../../domain/plain-text.ts'
import { messageOf } from '../../lib/message-of.ts'
import { readSettingFile } from '../../lib/setting-file.ts'
import { counted } from '../../lib/text.ts'
import { guardSecrets } from '../../masking/process-mask.ts'
import { readSettings } from '../../server/read-settings.ts'
import { secretsOf } from '../../server/settings.ts'
import { type Connection, connect, connected, download, serverCommand } from '../connection.ts'
import { io } from '../terminal/io.ts'
import { createLog } from '../terminal/log.ts'
import { JSON_LINES, type JsonOption } from '../terminal/option-values.ts'
import { print, printList, say } from '../terminal/print.ts'
import { type Calls, EXIT, offline, PLAIN_EXIT_CODES, type Steps } from '../terminal/steps.ts'
import { toFile } from './bundles.ts'

type HoldOptions = { readonly reason?: string; readonly release?: boolean }

/** `retrai hold RUN`: keeps a run from being removed. */
export const holdCommand = (): Command =>
  serverCommand('hold')
    .description('Put a run with its sub-agents on hold: no rule removes it.')
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', 'why; kept for ever')
    .option('--release', 'end the hold')
    .action(connected(hold))

async function* hold(
  { client }: Connection,
  runId: string,
  { reason, release = false }: HoldOptions,
): Calls {
  if (release) {
    const why = reason === undefined ? {} : { reason }
    const { hold: left } = yield* client.runs.release(runId, why)
    return await print(
      left === null
        ? `Run ${runId} is not on hold.`
        : oneLine(`Run ${runId} is on hold with a run above it: ${left.reason}`),
    )
  }
  if (reason === undefined) return yield* err('Say why with --reason TEXT.')
  yield* client.runs.hold(runId, reason)
  await print(`Run ${runId} is on hold.`)
}

const HELP = `
The policy is a file in YAML or JSON: {rules: [{name, match: {status,
older_than_days, project, tag}, action}]}. The first rule that matches decides,
all of "match" must hold, and a run that no rule matches is kept. The action is
keep, archive (an export in the folder of --archive, which is verified, then
removal) or remove. Only runs that have ended match, and none with a copy that
is not applied. A run goes or stays with its sub-agents, and a hold wins over
all rules. The ledger "retention" keeps what was removed, when, by which rule
and by whom. After an interruption, start the same command again.

--data-dir is for a stopped server. With --server, you need the role admin.
The exit code is 1 if a listed run could not be removed.
${PLAIN_EXIT_CODES}`

type Options = JsonOption & {
  readonly policy: string
  readonly dryRun?: boolean
  readonly archive?: string
  readonly dataDir?: string
  readonly server?: string
}

/** `retrai retention`: archives and removes runs by rules. */
export const retentionCommand = (): Command =>
  serverCommand('retention', HELP)
    .description('Archive and remove runs by rules, with a trace in a ledger.')
    .requiredOption('--policy <file>', 'the rules')
    .option('--dry-run', 'only list what would be removed')
    .option('--archive <folder>', 'where exports go before their runs are removed')
    .option('--data-dir <folder>', 'use this data folder instead of a server')
    .option(...JSON_LINES)
    .action(offline(retain))

/** Where runs are removed. */
type Place = {
  retain(asked: RetainRuns): ResultAsync<readonly RetainedRun[], string>
  export(runId: string): ResultAsync<Readable, string>
  /** Waits until the runs are gone. @returns whether they are */
  settle(): Promise<boolean>
}

/** So many exports are removed at once. */
const BATCH = 100

async function* retain(options: Options): Steps {
  const { policy, dryRun = false, archive, json = false } = options
  const { rules } = yield* await readSettingFile('--policy', policy, RetentionPolicy)
  if (!dryRun && archive === undefined && rules.some(({ action }) => action === 'archive')) {
    return yield* err('A rule archives runs: name a folder with --archive FOLDER.')
  }
  await using opened = new AsyncDisposableStack()
  const { dataDir } = options
  const place =
    dataDir === undefined
      ? overRest(yield* connect(options))
      : yield* inFolder(dataDir, dryRun, opened)
  const planned = yield* await place.retain({ rules, dry_run: true })
  await printList(json, HEAD, planned, rowOf)
  const leaving = planned.filter(({ kept }) => kept === null)
  const what = `${counted(leaving.length, 'run')} of ${planned.length}`
  if (dryRun) return say(`${what} would be removed. Nothing was changed.`)
  let removed = 0
  const archived = leaving.filter(({ action }) => action === 'archive')
  for (const batch of batchesOf(archived)) {
    const exports: NonNullable<RetainRuns['archived']> = {}
    for (const run of batch) exports[run.run_id] = yield* archiveRun(run, String(archive), place)
    removed += countRemoved(yield* await place.retain({ rules, archived: exports }))
  }
  if (leaving.length > archived.length)
    removed += countRemoved(yield* await place.retain({ rules }))
  if (!(await place.settle())) return yield* err('Not all runs are gone yet: start it again.')
  say(`${counted(removed, 'run')} removed.`)
  return removed < leaving.length ? EXIT.failed : EXIT.done
}

const countRemoved = (runs: readonly RetainedRun[]): number =>
  runs.filter(({ removed }) => removed).length

/** Runs in groups, each of which holds whole families. */
function* batchesOf(runs: readonly RetainedRun[]): Generator<readonly RetainedRun[]> {
  let batch: RetainedRun[] = []
  for (const run of runs) {
    if (batch.length >= BATCH && run.parent_run_id === undefined) {
      yield batch
      batch = []
    }
    batch.push(run)
  }
  if (batch.length > 0) yield batch
}

/** Exports a run into a folder, and verifies what is on the disk then. */
async function* archiveRun(
  { run_id, head, length }: RetainedRun,
  folder: string,
  place: Place,
): Steps<NonNullable<RetainRuns['archived']>[string]> {
  const path = join(resolve(folder), `retrai-run-${run_id}.tar.gz`)
  const archive = yield* await place.export(run_id)
  const hash = createHash('sha256')
  try {
    await mkdir(folder, { recursive: true })
    await toFile(archive, path)
    await pipeline(createReadStream(path), hash)
  } catch (cause) {
    return yield* err(`${path} could not be written: ${messageOf(cause)}. Its run stays.`)
  }
  const read = yield* await bundleFile(path)
  const report = await verifyBundle(read(), { anchors: NO_ANCHORS })
  const isWhole = report.holds && report.run_id === run_id && report.verified === length
  if (!isWhole || report.head !== head) {
    return yield* err(`${path} does not hold as an export of the run, so the run stays.`)
  }
  return { file: path, sha256: hash.digest('hex'), head }
}

const overRest = (connection: Connection): Place => ({
  retain: (asked) => connection.client.runs.retain(asked).mapErr(connection.explain),
  export: (runId) => download(connection, `/api/runs/${runId}/export`).mapErr(connection.explain),
  settle: async () => true,
})

async function* inFolder(
  given: string,
  dryRun: boolean,
  opened: AsyncDisposableStack,
): Steps<Place> {
  const read = yield* readSettings({ dataDir: given }, io().env)
  const { EVENTSTORE_URL: _, ...rest } = read
  const settings = { ...rest, RETRAI_LISTEN: { host: '127.0.0.1', port: 0 } }
  guardSecrets(secretsOf(settings))
  if (!existsSync(join(settings.RETRAI_DATA_DIR, 'log.sqlite'))) {
    return yield* err(`There is no log in ${given}: name the data folder of a server.`)
  }
  const { openRetention } = await import('../../server/offline-retention.ts')
  const retention = yield* await openRetention(settings, createLog('silent'), opened)
  if (!dryRun) retention.start()
  const author = { commandId: randomUUID(), principal: LOCAL }
  const explain = (error: { readonly type: string; readonly message?: string }) =>
    error.message ?? error.type
  return {
    retain: (asked) => retention.retain(RetainRuns.parse(asked), author).mapErr(explain),
    export: (runId) => retention.audit.exportRun(runId).mapErr(explain),
    settle: retention.settled,
  }
}

const HEAD = ['RUN', 'ENDED', 'STATUS', 'PROJECT', 'RULE', 'ACTION', 'BUT']

const rowOf = ({ run_id, ended_at, status, project, rule, action, kept }: RetainedRun) => [
  run_id,
  ended_at ?? '',
  status ?? '',
  project,
  rule,
  action,
  kept === null ? '' : `it stays: ${kept}`,
]
