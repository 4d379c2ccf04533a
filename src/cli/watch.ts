import type { Command } from 'commander'
import type { Kind } from '../client/index.ts'
import { OUTCOME_EXIT_CODES } from './exit-codes.ts'
import { follow } from './follow.ts'
import { kinds, seq } from './option-values.ts'
import { type ServerOptions, serverCommand, withServer } from './server.ts'

type Options = ServerOptions & {
  readonly after: number
  readonly kinds?: readonly Kind[]
  readonly json?: boolean
}

/** `retrai watch RUN`: what has happened in a run, then what happens, to its end. */
export function watchCommand(): Command {
  return serverCommand('watch', OUTCOME_EXIT_CODES)
    .description('Watch a run: all that has happened, then what happens, until it ends.')
    .argument('<run>', 'the id of the run')
    .option('--after <seq>', 'only what is behind this seq', seq, -1)
    .option(
      '--kinds <list>',
      '"all", or kinds separated by commas (default the ten common ones)',
      kinds,
    )
    .option('--json', 'print each event as JSON, one a line')
    .action((runId: string, { after, kinds, json = false, ...options }: Options) =>
      withServer(options, (server) => follow(server, runId, { after, kinds, json, ask: false })),
    )
}
