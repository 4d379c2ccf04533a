import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { firstSeqOf, RECORDS_V1 } from '../../audit/bundle/bundle-format.ts'
import { linesOf, readLine } from '../../audit/bundle/record-lines.ts'
import { BrokenArchive, type BundleFile } from '../../audit/bundle/tar-parts.ts'
import { bundleFile } from '../../audit/bundle/unpack.ts'
import { type AgentEvent, HistoryError, type Kind, type RequestError } from '../../client/index.ts'
import { RunRecord } from '../../domain/records.ts'
import { decodeParsed } from '../../log/codec.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { eventLine, shownKinds } from '../terminal/event-line.ts'
import { JSON_EVENTS, type JsonOption, KINDS, seq } from '../terminal/option-values.ts'
import { print, printJson } from '../terminal/print.ts'
import type { Calls } from '../terminal/steps.ts'

type Options = JsonOption & { readonly from: number; readonly kinds?: readonly Kind[] }

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
  { from, kinds, json = false }: Options,
): Calls {
  const { shows } = shownKinds(kinds, json)
  const events = existsSync(run)
    ? inFile(yield* await wholeFile(run), from - 1)
    : onServer(connection, run, from - 1)
  for await (const read of events) {
    const event = yield* read
    if (shows(event)) await (json ? printJson(event) : print(eventLine(event)))
  }
}

async function* onServer({ client }: Connection, run: string, after: number): Events {
  if (/[/.]/.test(run)) return yield err(`There is no file ${run}.`)
  try {
    for await (const event of client.history.events(run, { after, kinds: 'all' })) yield ok(event)
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
          .map(({ record }) => ({ ...record, seq: line.seq }))
          .mapErr(({ message }) => `Record ${line.seq} cannot be read: ${message}`)
      }
    }
  }
}
