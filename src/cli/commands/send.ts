import type { Command } from 'commander'
import { err, ok } from 'neverthrow'
import { type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { print } from '../terminal/print.ts'
import { wordsOf } from '../terminal/words-of.ts'

type Options = ServerOptions & { readonly file?: string }

/** `retrai send RUN TEXT`: says something to the agent of a run. */
export function sendCommand(): Command {
  return serverCommand('send')
    .description('Say something to the agent of a run. Its next request to the model holds it.')
    .argument('<run>', 'the id of the run')
    .argument('[text]', 'what you say')
    .option('-f, --file <path>', 'read it from a file; "-" is the standard input')
    .action((runId: string, text: string | undefined, { file, ...options }: Options) =>
      whenConnected(options, async ({ client, explain }) => {
        const words = await wordsOf({ text, file })
        if (words.isErr()) return err(words.error)
        if (words.value === null) return err('Say something: retrai send RUN TEXT, or -f FILE.')
        const sent = await client.runs.send(runId, { text: words.value })
        if (sent.isErr()) return err(explain(sent.error))
        await print(`${sent.value.run_id} ${sent.value.status}, record ${sent.value.seq}`)
        return ok(EXIT.done)
      }),
    )
}
