import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { RunStanding } from '../../client/index.ts'
import type { Seen } from '../../domain/records.ts'
import { type ServerOptions, serverCommand, withServer } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { seen, seq } from '../terminal/option-values.ts'
import { print } from '../terminal/print.ts'

type Options = ServerOptions & {
  readonly reason?: string
  readonly seq?: number
  readonly seen?: Seen
}

const SEEN = [
  '--seen <seq:hash>',
  'the last record that you were shown: refused if the log has another one there',
  seen,
] as const

/** `retrai approve RUN`: lets a run that waits for a person go on. */
export function approveCommand(): Command {
  return serverCommand('approve')
    .description('Approve another iteration of a run that waits for a person.')
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', 'kept in the log, and told to the model')
    .option('--seq <seq>', 'the human check that is answered: refused if another one is open', seq)
    .option(...SEEN)
    .action((runId: string, { reason, seq, seen, ...options }: Options) =>
      withServer(options, async ({ client, explain }) => {
        const answer = { decision: 'approve', reason, seq, seen } as const
        return told((await client.runs.resume(runId, answer)).mapErr(explain))
      }),
    )
}

/** `retrai abort RUN`: ends a run, whatever it is doing. */
export function abortCommand(): Command {
  return serverCommand('abort')
    .description('Abort a run, whatever it is doing.')
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', 'kept in the log')
    .option(...SEEN)
    .action((runId: string, { reason, seen, ...options }: Options) =>
      withServer(options, async ({ client, explain }) => {
        return told((await client.runs.abort(runId, { reason, seen })).mapErr(explain))
      }),
    )
}

async function told(done: Result<RunStanding, string>): Promise<Result<number, string>> {
  if (done.isErr()) return err(done.error)
  await print(`${done.value.run_id} ${done.value.status}`)
  return ok(EXIT.done)
}
