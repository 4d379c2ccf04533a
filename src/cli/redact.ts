import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Redacted } from '../client/index.ts'
import { EXIT } from './exit-codes.ts'
import { oneLine } from './plain-text.ts'
import { print } from './print.ts'
import { type ServerOptions, serverCommand, withServer } from './server.ts'

const HELP = `
The pointer (RFC 6901) begins at the payload of the record: /output, /args/command, /tool_calls/0/args. An
object or array stands for all texts in it. The reason is kept for ever, so say it without the text itself.
Where else in the run the same text stands is told; nothing is done there. Backups, and exports that were
made before, still have the text.`

type Options = ServerOptions & { readonly reason: string; readonly json?: boolean }

/** `retrai redact RUN SEQ POINTER`: takes a secret or a personal datum out of a record. */
export function redactCommand(): Command {
  return serverCommand('redact')
    .description('Take a text out of a record of a run, for ever; the chain of hashes stays whole.')
    .argument('<run>', 'the id of the run')
    .argument('<seq>', 'the record')
    .argument('<pointer>', 'JSON pointer to the text, such as /output')
    .requiredOption('--reason <text>', 'why; kept for ever')
    .option('--json', 'print the answer as JSON')
    .addHelpText('after', HELP)
    .action((runId: string, seq: string, pointer: string, { reason, json, ...options }: Options) =>
      withServer(options, async ({ client, explain }) => {
        if (!/^\d{1,15}$/.test(seq))
          return err(`"${seq}" is no seq. Give the number of the record.`)
        const wanted = { seq: Number(seq), pointer, reason }
        return told((await client.runs.redact(runId, wanted)).mapErr(explain), json === true)
      }),
    )
}

async function told(
  done: Result<Redacted, string>,
  asJson: boolean,
): Promise<Result<number, string>> {
  if (done.isErr()) return err(done.error)
  if (asJson) await print(JSON.stringify(done.value))
  else for (const line of linesOf(done.value)) await print(line)
  return ok(EXIT.done)
}

function linesOf({ pointers, artifact, erased, elsewhere }: Redacted): string[] {
  const whole = artifact === null ? '' : `, and the artifact ${artifact}`
  return [
    oneLine(`Gone: ${pointers.join(', ')}${whole}.`),
    ...(erased ? [] : ['Nothing serves it any more, but the store itself still has it.']),
    ...(elsewhere.length === 0 ? [] : ['The same text still stands in this run:']),
    ...elsewhere.map(({ seq, pointer, redactable }) =>
      oneLine(`  ${seq} ${pointer}${redactable ? '' : ' (cannot be redacted)'}`),
    ),
  ]
}
