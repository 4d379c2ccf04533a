import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { firstSeqOf, RECORDS_V1 } from '../../audit/bundle/bundle-format.ts'
import { type LineFormat, linesOf, readLine } from '../../audit/bundle/record-lines.ts'
import { BrokenArchive, type BundleFile } from '../../audit/bundle/tar-parts.ts'
import { bundleFile } from '../../audit/bundle/unpack.ts'
import { type AgentEvent, type Kind, WatchError } from '../../client/index.ts'
import { sleep } from '../../lib/backoff.ts'
import { decodeParsed } from '../../log/codec.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { eventLine, shownKinds } from '../terminal/event-line.ts'
import { io } from '../terminal/io.ts'
import { JSON_EVENTS, type JsonOption, KINDS, seq } from '../terminal/option-values.ts'
import { print, printJson } from '../terminal/print.ts'
import { EXIT, type Steps } from '../terminal/steps.ts'
import { watchEvents } from '../terminal/watch-events.ts'

const HELP = `
At a terminal, the replay shows the records with their original pauses, but none
longer than a second. A file must be exactly one whole archive; only "retrai
verify" verifies what is in it. If the run has not ended, the replay follows it
to its end.`

type Options = JsonOption & {
  readonly from: number
  readonly kinds?: readonly Kind[]
}

/** `retrai replay RUN|FILE`: shows a run as it happened, in the terminal. */
export const replayCommand = (): Command =>
  serverCommand('replay')
    .description('Show a run as it happened, from a server or an export.')
    .argument('<run>', 'the id of a run, or the file of an export')
    .option('--from <seq>', 'begin with this record', seq, 0)
    .option(...KINDS)
    .option(...JSON_EVENTS)
    .addHelpText('after', HELP)
    .action(connected(replay))

async function* replay(
  connection: Connection,
  run: string,
  { from, kinds, json = false }: Options,
): Steps {
  const leave = new AbortController()
  const source = yield* sourceOf(run, connection, leave.signal)
  const { shows } = shownKinds(kinds, json)
  let reached = false
  let shown: number | null = null
  const done = await watchEvents<AgentEvent>(() => source(from - 1), {
    ...{ json, leave },
    see: async (event) => {
      reached = true
      if (!shows(event)) return
      if (io().stdout.isTTY === true) await pause(shown, event.ts, leave.signal)
      if (!leave.signal.aborted) await (json ? printJson(event) : print(eventLine(event)))
      shown = event.ts
    },
    whenInterrupted: () => {},
  })
  if ((yield* done) === null && !reached) yield* err(`The run ends before record ${from}.`)
  return EXIT.done
}

const LONGEST_PAUSE_MS = 1_000

/** Waits for the time between two records of the run, or until the signal aborts. */
async function pause(before: number | null, now: number, signal: AbortSignal): Promise<void> {
  const pauseMs = before === null ? 0 : (now - before) * 1000
  if (pauseMs > 0) await sleep(Math.min(pauseMs, LONGEST_PAUSE_MS), signal)
}

type Source = (after: number) => AsyncIterable<AgentEvent>

async function* sourceOf(
  run: string,
  { client, explain }: Connection,
  signal: AbortSignal,
): Steps<Source> {
  if (existsSync(run)) {
    const file = yield* await bundleFile(run)
    yield* await readWhole(file)
    return (after) => bundleEvents(file, after)
  }
  if (/[/.]/.test(run)) yield* err(`There is no file ${run}.`)
  const { progress } = yield* client.runs.get(run).mapErr(explain)
  // The server refuses a watch that begins after the last record.
  return (after) =>
    after > progress.seq ? none() : client.watch(run, { after, kinds: 'all', signal })
}

async function* none(): AsyncGenerator<never> {}

/** Reads an archive to its end, so a part of a broken one is never shown. */
async function readWhole(open: BundleFile): Promise<Result<void, string>> {
  try {
    for await (const { body } of open()) for await (const _ of body);
    return ok()
  } catch (cause) {
    if (!(cause instanceof BrokenArchive)) throw cause
    return err(`The file is not one whole export: ${cause.message}. "retrai verify" reports more.`)
  }
}

/** The records of an export after a seq, in order. @throws WatchError if one cannot be shown; `retrai verify` reports why */
async function* bundleEvents(open: BundleFile, after: number): AsyncGenerator<AgentEvent> {
  let hasRecords = false
  for await (const { path, body } of open()) {
    const first = firstSeqOf(path)
    if (first !== null) {
      hasRecords = true
      yield* recordEvents(body, first, after, path === RECORDS_V1 ? 'checksummed' : 'plain')
    } else if (hasRecords) return
    else for await (const _ of body);
  }
  if (!hasRecords) throw unreadable('the archive holds no records')
}

const unreadable = (why: string) => new WatchError('damaged_record', why, -1)

async function* recordEvents(
  body: AsyncIterable<Uint8Array>,
  first: number,
  after: number,
  format: LineFormat,
): AsyncGenerator<AgentEvent> {
  let expected = first
  for await (const texts of linesOf(body)) {
    for (const text of texts) {
      const line = readLine(text, format)
      if (typeof line === 'string') throw unreadable(`record ${expected}: ${line}`)
      expected += 1
      if (line.seq <= after) continue
      const place = { stream: 'export', revision: line.seq }
      const decoded = decodeParsed(place, line.data, line.metadata)
      if (decoded.isErr()) throw unreadable(`record ${line.seq}: ${decoded.error.message}`)
      yield { ...decoded.value.record, seq: line.seq }
    }
  }
}
