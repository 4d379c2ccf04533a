import { existsSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { Decimal } from '../../api/fields.ts'
import { BrokenArchive } from '../../audit/bundle/inflate.ts'
import { type AgentEvent, type Client, type Kind, WatchError } from '../../client/index.ts'
import { sleep } from '../../lib/backoff.ts'
import { bundleEvents, bundleFile, readWhole, UnreadableExport } from '../bundle-file.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { eventLine, shownKinds } from '../terminal/event-line.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { JSON_EVENTS, KINDS, positiveInt, seq } from '../terminal/option-values.ts'
import { print, printJson } from '../terminal/print.ts'

const HELP = `
The replay shows the records with their original pauses. A FILE must be exactly one whole archive; only
"retrai verify" verifies what is in it. If the run has not ended, the replay follows it to its end.`

type Options = ServerOptions & {
  readonly speed: number
  readonly from?: number
  readonly iteration?: number
  readonly kinds?: readonly Kind[]
  readonly json?: boolean
}

/** `retrai replay RUN|FILE`: shows a run as it happened, in the terminal. */
export function replayCommand(): Command {
  return serverCommand('replay')
    .description('Show a run as it happened, from a server or an export.')
    .argument('<run>', 'the id of a run, or the file of an export')
    .option('--speed <factor>', '2 is twice as fast, "max" is without pauses', speed, 1)
    .option('--from <seq>', 'begin with this record', seq)
    .addOption(
      new Option('--iteration <number>', 'begin with this iteration')
        .argParser(positiveInt)
        .conflicts('from'),
    )
    .option(...KINDS)
    .option(...JSON_EVENTS)
    .addHelpText('after', HELP)
    .action((run: string, options: Options) =>
      whenConnected(options, (connection) => replay(run, options, connection)),
    )
}

function speed(text: string): number {
  if (text === 'max') return Number.POSITIVE_INFINITY
  const factor = Decimal.safeParse(text).data ?? 0
  if (factor > 0) return factor
  throw new InvalidArgumentError('Give a number above 0, or "max".')
}

async function replay(
  run: string,
  options: Options,
  connection: Connection,
): Promise<Result<number, string>> {
  const leave = new AbortController()
  const source = await sourceOf(run, connection, leave.signal)
  if (source.isErr()) return err(source.error)
  const json = options.json === true
  const { shows } = shownKinds(options.kinds, json)
  process.once('SIGINT', () => leave.abort())
  try {
    const from = targetOf(options)
    const reached = await playBack({
      events: source.value('seq' in from ? from.seq - 1 : -1),
      show: (event) => (json ? printJson(event) : print(eventLine(event))),
      wanted: shows,
      from,
      speed: options.speed,
      signal: leave.signal,
    })
    return reached || leave.signal.aborted ? ok(EXIT.done) : err(beyond(from))
  } catch (thrown) {
    if (leave.signal.aborted) return ok(EXIT.done)
    if (isExpected(thrown)) return err(thrown.message)
    throw thrown
  } finally {
    leave.abort()
  }
}

/** Where to begin: at a record, or at the first record of an iteration. */
type Target = { readonly seq: number } | { readonly iteration: number }

type PlaybackOptions = {
  /** In order, from the target or before. */
  readonly events: AsyncIterable<AgentEvent>
  readonly show: (event: AgentEvent) => Promise<void>
  /** Whether a record is shown. */
  readonly wanted: (event: AgentEvent) => boolean
  readonly from: Target
  /** 1 is the original speed; `Infinity` does not wait. */
  readonly speed: number
  readonly signal: AbortSignal
  /** Waits `ms` milliseconds, or until the signal aborts. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<unknown>
}

/** Shows records with their original pauses. @returns whether there was one to begin with */
export async function playBack({
  events,
  show,
  wanted,
  from,
  speed,
  signal,
  wait = sleep,
}: PlaybackOptions): Promise<boolean> {
  let reached = false
  let shown: number | null = null
  for await (const event of events) {
    if (signal.aborted) break
    if ('iteration' in from && event.iteration < from.iteration) continue
    reached = true
    if (!wanted(event)) continue
    const pauseMs = shown === null ? 0 : (Math.max(0, event.ts - shown) * 1000) / speed
    if (pauseMs > 0) await wait(Math.min(pauseMs, LONGEST_MS), signal)
    if (signal.aborted) break
    await show(event)
    shown = event.ts
  }
  return reached
}

/** The longest wait of a timer, milliseconds. */
const LONGEST_MS = 2 ** 31 - 1

function targetOf({ from, iteration }: Options): Target {
  if (iteration !== undefined && from === undefined) return { iteration }
  return { seq: from ?? 0 }
}

const beyond = (target: Target): string =>
  'seq' in target
    ? `The run ends before record ${target.seq}.`
    : `The run ends before iteration ${target.iteration}.`

type Source = (after: number) => AsyncIterable<AgentEvent>

async function sourceOf(
  run: string,
  { client, explain }: Connection,
  signal: AbortSignal,
): Promise<Result<Source, string>> {
  if (existsSync(run)) {
    const file = await bundleFile(run)
    if (file.isErr()) return err(file.error)
    const whole = await readWhole(file.value)
    return whole.map(() => (after) => bundleEvents(file.value, after))
  }
  if (/[/.]/.test(run)) return err(`There is no file ${run}.`)
  const found = await client.runs.get(run)
  return found.map((): Source => (after) => watched(client, run, after, signal)).mapErr(explain)
}

/** Watches a run after a seq. Empty if the run has no record after it yet. */
async function* watched(
  client: Client,
  run: string,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<AgentEvent> {
  const now = await client.runs.get(run)
  if (now.isOk() && after > now.value.progress.seq) return
  yield* client.watch(run, { after, kinds: 'all', signal })
}

function isExpected(thrown: unknown): thrown is Error {
  return (
    thrown instanceof WatchError ||
    thrown instanceof UnreadableExport ||
    thrown instanceof BrokenArchive
  )
}
