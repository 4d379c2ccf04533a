import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Redacted } from '../../client/index.ts'
import { counted } from '../../lib/counted.ts'
import { messageOf } from '../../lib/message-of.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { isAgreed } from '../terminal/is-agreed.ts'
import { oneLine } from '../terminal/plain-text.ts'
import { print, printJson, say } from '../terminal/print.ts'

const HELP = `
The pointer (RFC 6901) begins at the payload of the record: /output, /args/command, /tool_calls/0/args. If
it names an object or an array, all texts in it are redacted. The reason is kept for ever, so it must not
contain the text. Before it redacts, the command shows what that removes and asks, unless you pass --yes.

The command lists where else the run contains the same text; with --everywhere it redacts these places too.
If the secret is only a part of the text, pass it with --secret-file, or on stdin with --secret-file -. Then
the command searches for the secret, within other texts and whole outputs too. Each text that contains it is
redacted as a whole. You can repeat the command safely. Other runs are not searched. Backups and earlier
exports still contain the text.`

type Options = ServerOptions & {
  readonly reason: string
  readonly secretFile?: string
  readonly everywhere?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

/** `retrai redact RUN SEQ POINTER`: redacts a secret or personal data in a record. */
export function redactCommand(): Command {
  return serverCommand('redact')
    .description('Redact a text in a record of a run, for ever. The chain of hashes stays whole.')
    .argument('<run>', 'the id of the run')
    .argument('<seq>', 'the record')
    .argument('<pointer>', 'JSON pointer to the text, such as /output')
    .requiredOption('--reason <text>', 'the reason; kept for ever')
    .option('--secret-file <file>', 'search for the secret in this file, not for the whole text')
    .option('--everywhere', 'also redact it everywhere else in this run')
    .option('--yes', 'do not ask first; needed if there is no terminal')
    .option('--json', 'print each answer as JSON, one a line')
    .addHelpText('after', HELP)
    .action((runId: string, seq: string, pointer: string, options: Options) =>
      whenConnected(options, (connection) => redact(connection, { runId, seq, pointer }, options)),
    )
}

type Place = { readonly runId: string; readonly seq: string; readonly pointer: string }

async function redact(
  { client, explain }: Connection,
  { runId, seq, pointer }: Place,
  { reason, secretFile, everywhere, yes, json }: Options,
): Promise<Result<number, string>> {
  if (!/^\d{1,15}$/.test(seq)) return err(`"${seq}" is not a seq. Give the number of the record.`)
  const secret = await readSecret(secretFile)
  if (secret.isErr()) return err(secret.error)
  const what = { seq: Number(seq), pointer, reason, secret: secret.value }
  const ask = (wanted: RedactWhat) => client.runs.redact(runId, wanted).mapErr(explain)
  if (yes !== true) {
    const preview = await ask({ ...what, preview: true })
    if (preview.isErr()) return err(preview.error)
    say(...previewLines(runId, preview.value, everywhere === true))
    const agreed = secretFile === '-' ? null : await isAgreed('Redact it? [y]es, [n]o: ')
    if (agreed === null)
      return err('There is nobody to ask here. Nothing was redacted: repeat it with --yes.')
    if (!agreed) return err('Nothing was redacted.')
  }
  for await (const done of redactAll(ask, what, everywhere === true)) {
    if (done.isErr()) return err(done.error)
    await printPlace(done.value, json === true)
  }
  return ok(EXIT.done)
}

/** What is about to be removed, for ever. */
function previewLines(runId: string, would: Redacted, everywhere: boolean): string[] {
  const { seq, pointers, artifact, summaries, elsewhere } = would
  if (pointers.length === 0) return ['These texts are redacted already.']
  const others = elsewhere.filter(({ redactable }) => redactable)
  return [
    `This removes from run ${runId}, for ever:`,
    ...pointers.map((pointer) => `  record ${seq}: ${oneLine(pointer)}`),
    ...(artifact === null ? [] : [`  the artifact ${artifact}, of every run that names it`]),
    ...summaries.map((summary) => `  record ${summary}: all texts of the summary`),
    ...(everywhere
      ? others.map((place) => `  record ${place.seq}: ${oneLine(place.pointer)}`)
      : others.length === 0
        ? []
        : [`It stays in ${counted(others.length, 'other place')}, without --everywhere.`]),
  ]
}

async function printPlace({ seq, answer, left }: RedactedPlace, asJson: boolean): Promise<void> {
  if (asJson) await printJson(answer)
  else for (const line of linesOf(seq, answer, left)) await print(line)
}

function linesOf(seq: number, answer: Redacted, left: Redacted['elsewhere']): string[] {
  const { pointers, artifact, erased, summaries = [] } = answer
  const whole = artifact === null ? '' : `, and the artifact ${artifact}`
  return [
    oneLine(`Redacted in record ${seq}: ${pointers.join(', ')}${whole}.`),
    ...(summaries.length === 0
      ? []
      : [`Redacted with it: the summaries after it, records ${summaries.join(', ')}.`]),
    ...(erased
      ? []
      : [
          'This server does not show it any more, and other servers of the same store follow. The store still contains it.',
        ]),
    ...(left.length === 0 ? [] : ['This run still contains it:']),
    ...left.map(({ seq, pointer, redactable }) => {
      return `  ${seq} ${oneLine(pointer)}${redactable ? '' : ' (cannot be redacted)'}`
    }),
  ]
}

type RedactWhat = {
  readonly seq: number
  readonly pointer: string
  readonly reason: string
  readonly secret: string | undefined
  readonly preview?: boolean
}

/** The redaction in one record, and the places that still contain the text. */
type RedactedPlace = {
  readonly seq: number
  readonly answer: Redacted
  readonly left: Redacted['elsewhere']
}

type Ask = (what: RedactWhat) => PromiseLike<Result<Redacted, string>>

/**
 * Redacts a text in one record and, with `everywhere`, in all other places that the answer names. Ends at the
 * first request that is refused. Earlier redactions stay, and may be repeated.
 */
async function* redactAll(
  ask: Ask,
  what: RedactWhat,
  everywhere: boolean,
): AsyncGenerator<Result<RedactedPlace, string>> {
  const first = await ask(what)
  if (first.isErr()) return yield err(first.error)
  const { elsewhere } = first.value
  const next = everywhere ? elsewhere.filter(({ redactable }) => redactable) : []
  const left = elsewhere.filter((place) => !next.includes(place))
  yield ok({ seq: what.seq, answer: first.value, left })
  for (const { seq, pointer } of next) {
    const done = await ask({ ...what, seq, pointer })
    if (done.isErr()) {
      return yield err(`Record ${seq}, ${pointer}: ${done.error} Then repeat the command.`)
    }
    yield ok({ seq, answer: done.value, left: [] })
  }
}

/**
 * Reads a secret from a file, or from stdin for `-`, without the line feed at its end. The secret is not an option,
 * because shell histories and process lists show arguments.
 */
async function readSecret(file: string | undefined): Promise<Result<string | undefined, string>> {
  if (file === undefined) return ok(undefined)
  try {
    const read = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8'))
    const secret = read.replace(/\r?\n$/, '')
    if (secret.length >= 4) return ok(secret)
    return err('The secret is too short: it needs at least 4 characters.')
  } catch (cause) {
    const message = messageOf(cause)
    return err(`${file} cannot be read: ${message}`)
  }
}
