import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Redacted } from '../../client/index.ts'
import { messageOf } from '../../lib/message-of.ts'
import { type Server, type ServerOptions, serverCommand, withServer } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { oneLine } from '../terminal/plain-text.ts'
import { print, printJson } from '../terminal/print.ts'

const HELP = `
The pointer (RFC 6901) begins at the payload of the record: /output, /args/command, /tool_calls/0/args. An
object or array stands for all texts in it. The reason is kept for ever, so say it without the text itself.

Where else in the run the same text stands is told; with --everywhere it is taken out there too. Where the
secret is only a part of the text, give it with --secret-file, or on stdin with --secret-file -: then the
secret is what is looked for, also within other texts and whole outputs. Each text that holds it is taken
out as a whole. It is safe to give the same command again. Other runs are not looked through. Backups, and
exports that were made before, still have the text.`

type Options = ServerOptions & {
  readonly reason: string
  readonly secretFile?: string
  readonly everywhere?: boolean
  readonly json?: boolean
}

/** `retrai redact RUN SEQ POINTER`: takes a secret or a personal datum out of a record. */
export function redactCommand(): Command {
  return serverCommand('redact')
    .description('Take a text out of a record of a run, for ever; the chain of hashes stays whole.')
    .argument('<run>', 'the id of the run')
    .argument('<seq>', 'the record')
    .argument('<pointer>', 'JSON pointer to the text, such as /output')
    .requiredOption('--reason <text>', 'why; kept for ever')
    .option('--secret-file <file>', 'look for what this file holds, not for the whole text')
    .option('--everywhere', 'also take it out wherever else in this run it stands')
    .option('--json', 'print each answer as JSON, one a line')
    .addHelpText('after', HELP)
    .action((runId: string, seq: string, pointer: string, options: Options) =>
      withServer(options, (server) => redact(server, { runId, seq, pointer }, options)),
    )
}

type Place = { readonly runId: string; readonly seq: string; readonly pointer: string }

async function redact(
  { client, explain }: Server,
  { runId, seq, pointer }: Place,
  { reason, secretFile, everywhere, json }: Options,
): Promise<Result<number, string>> {
  if (!/^\d{1,15}$/.test(seq)) return err(`"${seq}" is no seq. Give the number of the record.`)
  const secret = await readSecret(secretFile)
  if (secret.isErr()) return err(secret.error)
  const what = { seq: Number(seq), pointer, reason, secret: secret.value }
  const ask = (wanted: RedactWhat) => client.runs.redact(runId, wanted).mapErr(explain)
  for await (const done of redactAll(ask, what, everywhere === true)) {
    if (done.isErr()) return err(done.error)
    await tell(done.value, json === true)
  }
  return ok(EXIT.done)
}

async function tell({ seq, answer, left }: Carried, asJson: boolean): Promise<void> {
  if (asJson) await printJson(answer)
  else for (const line of linesOf(seq, answer, left)) await print(line)
}

function linesOf(seq: number, answer: Redacted, left: Redacted['elsewhere']): string[] {
  const { pointers, artifact, erased } = answer
  const whole = artifact === null ? '' : `, and the artifact ${artifact}`
  return [
    oneLine(`Gone from record ${seq}: ${pointers.join(', ')}${whole}.`),
    ...(erased ? [] : ['Nothing serves it any more, but the store itself still has it.']),
    ...(left.length === 0 ? [] : ['It still stands in this run:']),
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
}

/** What was done at one record, and where the text is left standing for good. */
type Carried = {
  readonly seq: number
  readonly answer: Redacted
  readonly left: Redacted['elsewhere']
}

type Ask = (what: RedactWhat) => PromiseLike<Result<Redacted, string>>

/**
 * Takes a text out of one record and, with `everywhere`, out of all others of the run that its answer names.
 * Ends at the first request that is refused: what was done until then is done, and may be asked for again.
 */
async function* redactAll(
  ask: Ask,
  what: RedactWhat,
  everywhere: boolean,
): AsyncGenerator<Result<Carried, string>> {
  const first = await ask(what)
  if (first.isErr()) return yield err(first.error)
  const { elsewhere } = first.value
  const next = everywhere ? elsewhere.filter(({ redactable }) => redactable) : []
  const left = elsewhere.filter((place) => !next.includes(place))
  yield ok({ seq: what.seq, answer: first.value, left })
  for (const { seq, pointer } of next) {
    const done = await ask({ ...what, seq, pointer })
    if (done.isErr()) {
      return yield err(`Record ${seq}, ${pointer}: ${done.error} Then give the command again.`)
    }
    yield ok({ seq, answer: done.value, left: [] })
  }
}

/**
 * A secret from a file, or from stdin for `-`, without the line feed at its end. It is no option of its own,
 * since arguments of commands stand in histories and in lists of processes.
 */
async function readSecret(file: string | undefined): Promise<Result<string | undefined, string>> {
  if (file === undefined) return ok(undefined)
  try {
    const read = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8'))
    const secret = read.replace(/\r?\n$/, '')
    if (secret.length >= 4) return ok(secret)
    return err('The secret is too short to be looked for: it needs at least 4 characters.')
  } catch (cause) {
    const message = messageOf(cause)
    return err(`${file} cannot be read: ${message}`)
  }
}
