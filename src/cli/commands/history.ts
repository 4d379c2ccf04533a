import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { text as textOf } from 'node:stream/consumers'
import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { firstSeqOf, RECORDS_V1 } from '../../audit/bundle/bundle-format.ts'
import { linesOf, readLine } from '../../audit/bundle/record-lines.ts'
import { BrokenArchive, type BundleFile } from '../../audit/bundle/tar-parts.ts'
import { bundleFile } from '../../audit/bundle/unpack.ts'
import {
  type AgentEvent,
  HistoryError,
  type RequestError,
  type RunChanges,
} from '../../client/index.ts'
import { oneLine } from '../../domain/plain-text.ts'
import { present } from '../../domain/present.ts'
import { RunRecord } from '../../domain/records.ts'
import { decodeParsed } from '../../log/codec.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { eventLine, shownKinds } from '../terminal/event-line.ts'
import { io } from '../terminal/io.ts'
import {
  JSON_EVENTS,
  JSON_LINES,
  type JsonOption,
  KINDS,
  type ShownEvents,
  seq,
} from '../terminal/option-values.ts'
import { type Line, print, printJson, rendered, say } from '../terminal/print.ts'
import type { Calls } from '../terminal/steps.ts'

/** `retrai replay RUN|FILE`: what happened in a run so far, from a server or an export. */
export const replayCommand = (): Command =>
  serverCommand('replay')
    .description(
      'Print what happened in a run so far, from a server or an export, which "retrai verify" verifies.',
    )
    .argument('<run>', 'the id of a run, or the file of an export')
    .option('--from <seq>', 'begin with this record', seq, 0)
    .option(...KINDS)
    .option(...JSON_EVENTS)
    .action(connected(replay))

/** The records of a run in their order; an error is the last one. */
type Events = AsyncGenerator<Result<AgentEvent, string | RequestError>>

async function* replay(
  connection: Connection,
  run: string,
  { from, kinds, json = false }: ShownEvents,
): Calls {
  const { shows } = shownKinds(kinds, json)
  const events = existsSync(run)
    ? inFile(yield* await wholeFile(run), from - 1)
    : onServer(connection, run, from - 1, !json)
  for await (const read of events) {
    const event = yield* read
    if (!shows(event)) continue
    await (json ? printJson({ ...event, meta: undefined }) : print(eventLine(event)))
  }
}

async function* onServer(
  { client }: Connection,
  run: string,
  after: number,
  meta: boolean,
): Events {
  if (/[/.]/.test(run)) return yield err(`There is no file ${run}.`)
  try {
    for await (const event of client.history.events(run, { after, meta, kinds: 'all' }))
      yield ok(event)
  } catch (cause) {
    if (!(cause instanceof HistoryError)) throw cause
    yield err(cause.error)
  }
}

/** An export that was read to its end, so a part of a broken one is never shown. */
async function wholeFile(path: string): Promise<Result<BundleFile, string>> {
  const found = await bundleFile(path)
  if (found.isErr()) return found
  try {
    for await (const { body } of found.value()) for await (const _ of body);
    return found
  } catch (cause) {
    if (!(cause instanceof BrokenArchive)) throw cause
    return err(`The file is not one whole export: ${cause.message}. "retrai verify" reports more.`)
  }
}

async function* inFile(open: BundleFile, after: number): Events {
  for await (const { path, body } of open()) {
    if (firstSeqOf(path) === null) {
      for await (const _ of body);
      continue
    }
    const format = path === RECORDS_V1 ? 'checksummed' : 'plain'
    for await (const texts of linesOf(body)) {
      for (const text of texts) {
        const line = readLine(text, format)
        if (typeof line === 'string') return yield err(`A record cannot be read: ${line}`)
        if (line.seq <= after) continue
        const place = { stream: 'export', revision: line.seq }
        yield decodeParsed(RunRecord, place, line.data, line.metadata)
          .map(({ record, meta }) => ({ ...record, seq: line.seq, meta }))
          .mapErr(({ message }) => `Record ${line.seq} cannot be read: ${message}`)
      }
    }
  }
}

type DiffOptions = JsonOption & {
  readonly from?: number
  readonly to?: number
  readonly stat?: boolean
}

const HELP = `
Without --from and --to, it compares the first snapshot of the project with the last. The output
is what "git apply --binary" takes, except for secrets, which are masked. At a terminal, it is coloured, and
shown with $PAGER if that is set, such as to "less -R".`

/** `retrai diff RUN`: what happened to the files of the project. */
export const diffCommand = (): Command =>
  serverCommand('diff')
    .description('Show what a run did to the files of its project.')
    .argument('<run>', 'the id of a run')
    .option('--from <seq>', 'the files as of this record', seq)
    .option('--to <seq>', 'the files as of this record', seq)
    .option('--stat', 'only the files, with the number of lines')
    .option(...JSON_LINES)
    .addHelpText('after', HELP)
    .action(connected(diff))

async function* diff({ client }: Connection, run: string, options: DiffOptions): Calls {
  const { from, to, stat = false, json = false } = options
  const between = present({ from, to })
  if (stat || json) {
    const changes = yield* client.history.changes(run, between)
    if (json) await printJson(changes)
    else for (const line of statOf(changes)) await print(line)
    return
  }
  await printPatch(await textOf(yield* client.history.patch(run, between)))
  const { files, unknown } = yield* client.history.changes(run, between)
  const lacking = files.filter(({ withheld }) => withheld === 'not_kept').map(({ path }) => path)
  for (const path of [...lacking, ...unknown]) say(`not in the patch: ${oneLine(path)}`)
}

/** Writes a patch: as it is, or for a person at a terminal. */
export async function printPatch(patch: string): Promise<void> {
  const { stdout, env } = io()
  // For "git apply", not a byte is changed.
  if (stdout.isTTY !== true) return void stdout.write(patch)
  const shown = patch.trimEnd().split('\n').map(coloured)
  if (env.PAGER?.trim()) await page(env.PAGER, `${shown.map(rendered).join('\n')}\n`)
  else for (const line of shown) await print(line)
}

/** Shows a text with a command of the user, until that ends. */
async function page(pager: string, text: string): Promise<void> {
  const child = spawn('sh', ['-c', pager], { stdio: ['pipe', 'inherit', 'inherit'] })
  // It may end before it has read all.
  child.stdin.on('error', () => {})
  child.stdin.end(text)
  await once(child, 'close')
}

const WORDS = {
  added: 'new',
  modified: '',
  deleted: 'gone',
  renamed: 'moved',
  mode: 'mode',
} as const

/** A line for each file, and the sum. */
export function statOf({ files, left_out: leftOut }: RunChanges): Line[] {
  const lines = files.map(
    ({ path, old_path, status, additions, deletions, binary, withheld }): Line => {
      const what = [
        WORDS[status],
        binary ? 'binary' : '',
        withheld === 'not_kept' ? 'not kept' : '',
      ]
      const from = old_path === undefined ? '' : ` (was ${old_path})`
      return [
        `${path}${from}  `,
        { text: `+${additions}`, style: 'green' },
        ' ',
        { text: `-${deletions}`, style: 'red' },
        `  ${what.filter((word) => word !== '').join(', ')}`,
      ]
    },
  )
  const sum = (key: 'additions' | 'deletions') => files.reduce((all, file) => all + file[key], 0)
  const total = `${files.length} ${files.length === 1 ? 'file' : 'files'} changed, +${sum('additions')} -${sum('deletions')}`
  const beside = leftOut.length === 0 ? '' : `; ${leftOut.length} left out of snapshots`
  return [...lines, total + beside]
}

function coloured(line: string): Line {
  if (/^(\+\+\+|---|diff |index |new |deleted |old |rename |similarity )/.test(line)) {
    return [{ text: line, style: 'bold' }]
  }
  if (line.startsWith('@@')) return [{ text: line, style: 'cyan' }]
  if (line.startsWith('+')) return [{ text: line, style: 'green' }]
  return line.startsWith('-') ? [{ text: line, style: 'red' }] : line
}
