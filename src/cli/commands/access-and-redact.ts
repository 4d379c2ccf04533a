import type { Command } from 'commander'
import { err } from 'neverthrow'
import type { RedactRun } from '../../api/redactions.ts'
import type { AccessQuery, LoggedAccess, Redacted } from '../../client/index.ts'
import { ACCESS_KINDS } from '../../domain/access.ts'
import { linesOf, oneLine, timeOf } from '../../domain/plain-text.ts'
import { counted } from '../../lib/text.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { agrees, atTerminal } from '../terminal/ask.ts'
import {
  JSON_LINES,
  type JsonOption,
  positiveInt,
  seq as seqOf,
  someOf,
  wordsOf,
} from '../terminal/option-values.ts'
import { print, printJson, printList, say } from '../terminal/print.ts'
import type { Calls } from '../terminal/steps.ts'

type AccessOptions = JsonOption &
  Pick<AccessQuery, 'principal' | 'kinds' | 'limit'> & { readonly run?: string }

/** `retrai access`: the access log, newest first. */
export const accessCommand = (): Command =>
  serverCommand('access')
    .description('Show who has read, watched, exported or verified which run, newest first.')
    .option('--run <run>', 'only accesses to this run')
    .option('--principal <name>', 'only accesses of this person or program')
    .option('--kinds <list>', `only some of ${ACCESS_KINDS.join(', ')}`, someOf(ACCESS_KINDS))
    .option('--limit <n>', 'the most to show, up to 5000', positiveInt, 50)
    .option(...JSON_LINES)
    .action(connected(show))

const HEAD = ['SEQ', 'WHEN', 'WHO', 'FROM', 'WHAT', 'RUN', 'TIMES', 'DETAILS']

async function* show(
  { client }: Connection,
  { run, json = false, ...query }: AccessOptions,
): Calls {
  const { principal, kinds, limit } = query
  const asked = { run_id: run, principal, kinds, direction: 'backward', limit } as const
  const { entries, next } = yield* client.access.list(asked)
  await printList(json, HEAD, entries, rowOf)
  if (next !== null && !json) say(`There are more than ${limit}; --limit shows more of them.`)
}

function rowOf({ seq, kind, payload }: LoggedAccess): string[] {
  const { count, last_ts } = payload
  const when = timeOf(last_ts)
  if (!('operation' in payload)) return [String(seq), when, '', '', kind, '', String(count), '']
  const { principal, run_id, operation } = payload
  const client = 'client' in payload ? payload.client : 'a socket'
  const who = [principal ?? 'unknown', client ?? 'many addresses']
  const refused = 'status' in payload ? `status ${payload.status}` : ''
  const asked = 'asked' in payload ? payload.asked : refused
  return [String(seq), when, ...who, kind, run_id ?? '', String(count), `${operation} ${asked}`]
}

const HELP = `
The pointer (RFC 6901) begins at the payload of the record: /output,
/args/command, /tool_calls/0/args. If it names an object or an array, all texts
in it are redacted. The reason is kept for ever, so it must not contain the
text. Before it redacts, the command shows what that removes and asks, unless
you pass --force.

The command lists where else the run contains the same text; with --everywhere
it redacts these places too. If the secret is only a part of the text, pass it
with -f FILE, or on stdin with -f -. Then the command searches for the secret,
within other texts and whole outputs too. Each text that contains it is redacted
as a whole. You can repeat the command safely. Other runs are not searched.
Backups and earlier exports still contain the text.`

type RedactOptions = JsonOption & {
  readonly reason: string
  /** Has the secret. */
  readonly file?: string
  readonly everywhere?: boolean
  readonly force?: boolean
}

/** `retrai redact RUN SEQ POINTER`: redacts a secret or personal data in a record. */
export const redactCommand = (): Command =>
  serverCommand('redact')
    .description('Redact a text in a record of a run, for ever. The chain of hashes stays whole.')
    .argument('<run>', 'the id of the run')
    .argument('<seq>', 'the record', seqOf)
    .argument('<pointer>', 'JSON pointer to the text, such as /output')
    .requiredOption('--reason <text>', 'the reason; kept for ever')
    .option('-f, --file <path>', 'search for the secret in this file, not for the whole text')
    .option('--everywhere', 'also redact it everywhere else in this run')
    .option('--force', 'do not ask first; needed if there is no terminal')
    .option(...JSON_LINES)
    .addHelpText('after', HELP)
    .action(connected(redact))

async function* redact(
  { client, explain }: Connection,
  runId: string,
  seq: number,
  pointer: string,
  { reason, file, everywhere = false, force = false, json = false }: RedactOptions,
): Calls {
  // The secret is not an option, because shell histories and process lists show arguments.
  const secret = (yield* await wordsOf({ file }))?.replace(/\r?\n$/, '')
  if (secret !== undefined && secret.length < 4) {
    return yield* err('The secret is too short: it needs at least 4 characters.')
  }
  const what = { seq, pointer, reason, ...(secret !== undefined && { secret }) }
  const ask = (wanted: RedactRun) => client.runs.redact(runId, wanted)
  if (!force) {
    say(...previewLines(runId, yield* ask({ ...what, preview: true }), everywhere))
    if (file === '-' || !atTerminal()) {
      return yield* err(
        'There is nobody to ask here. Nothing was redacted: repeat it with --force.',
      )
    }
    if (!(await agrees('Redact it?'))) return yield* err('Nothing was redacted.')
  }
  // Earlier redactions stay if a later one is refused, and may be repeated.
  const first = yield* ask(what)
  const next = everywhere ? first.elsewhere.filter(({ redactable }) => redactable) : []
  const left = first.elsewhere.filter((place) => !next.includes(place))
  await printPlace(what.seq, first, left, json)
  for (const place of next) {
    const done = await ask({ ...what, seq: place.seq, pointer: place.pointer })
    const here = `Record ${place.seq}, ${place.pointer}`
    const answer = yield* done.mapErr(
      (error) => `${here}: ${explain(error)} Then repeat the command.`,
    )
    await printPlace(place.seq, answer, [], json)
  }
}

/** What is about to be removed, for ever. */
function previewLines(runId: string, would: Redacted, everywhere: boolean): string[] {
  const { seq, pointers, artifact, summaries, objects = 0, elsewhere } = would
  if (pointers.length === 0) return ['These texts are redacted already.']
  const others = elsewhere.filter(({ redactable }) => redactable)
  return linesOf(
    `This removes from run ${runId}, for ever:`,
    pointers.map((pointer) => `  record ${seq}: ${oneLine(pointer)}`),
    artifact !== null && `  the artifact ${artifact}, of every run that names it`,
    summaries.map((summary) => `  record ${summary}: all texts of the summary`),
    objects > 0 && [
      `  ${counted(objects, 'object')} of every run that has them: files of snapshots, and hidden checks, which cannot be made any more.`,
      '  The id of a file stays, from which a short text can be guessed. Copies of the disk have it unmasked.',
    ],
    everywhere
      ? others.map((place) => `  record ${place.seq}: ${oneLine(place.pointer)}`)
      : others.length > 0 &&
          `It stays in ${counted(others.length, 'other place')}, without --everywhere.`,
  )
}

/** What was done at a place. @param left where else the run has the text */
async function printPlace(
  seq: number,
  answer: Redacted,
  left: Redacted['elsewhere'],
  asJson: boolean,
): Promise<void> {
  if (asJson) return printJson(answer)
  const { pointers, artifact, erased, summaries = [], objects = 0 } = answer
  const whole = artifact === null ? '' : `, and the artifact ${artifact}`
  const lines = linesOf(
    oneLine(`Redacted in record ${seq}: ${pointers.join(', ')}${whole}.`),
    summaries.length > 0 &&
      `Redacted with it: the summaries after it, records ${summaries.join(', ')}.`,
    objects > 0 && `Removed: ${counted(objects, 'object')} of snapshots or hidden checks.`,
    !erased &&
      'This server does not show it any more, and other servers of the same store follow. The store still contains it.',
    left.length > 0 && 'This run still contains it:',
    left.map(({ seq, pointer, redactable }) => {
      return `  ${seq} ${oneLine(pointer)}${redactable ? '' : ' (cannot be redacted)'}`
    }),
  )
  for (const line of lines) await print(line)
}
