import type { Command } from 'commander'
import { err, type Result } from 'neverthrow'
import type { Kind } from '../../client/index.ts'
import { type Server, type ServerOptions, serverCommand, withServer } from '../connection.ts'
import { OUTCOME_EXIT_CODES } from '../terminal/exit-codes.ts'
import { isSeq, kinds } from '../terminal/option-values.ts'
import { follow } from './follow.ts'
import { followAll } from './follow-all.ts'

type Choice = {
  readonly after?: string
  readonly kinds?: readonly Kind[]
  readonly json?: boolean
}

/** `retrai watch [RUN]`: what has happened in a run, then what happens, to its end; or all runs from now on. */
export function watchCommand(): Command {
  return serverCommand('watch', OUTCOME_EXIT_CODES)
    .description(
      'Watch a run: all that has happened, then what happens, until it ends. Without RUN: all runs, from now on.',
    )
    .argument('[run]', 'the id of the run')
    .option(
      '--after <place>',
      'only what is behind this: a seq of the run; or of all runs, a cursor of an event, "start" or "end"',
    )
    .option(
      '--kinds <list>',
      '"all", or kinds separated by commas (default the ten common ones)',
      kinds,
    )
    .option('--json', 'print each event as JSON, one a line')
    .action((runId: string | undefined, { server, ...choice }: Choice & ServerOptions) =>
      withServer(server === undefined ? {} : { server }, (to) => watch(to, runId, choice)),
    )
}

async function watch(
  server: Server,
  runId: string | undefined,
  { after, kinds, json = false }: Choice,
): Promise<Result<number, string>> {
  if (runId === undefined) return followAll(server, { after: after ?? 'end', kinds, json })
  if (after !== undefined && !isSeq(after)) {
    return err(`--after ${after} is no place in a run. Give a seq, or -1 for all of it.`)
  }
  return follow(server, runId, { after: Number(after ?? -1), kinds, json, ask: false })
}
