import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Seen } from '../../api/records.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { callHash, seen, seq } from '../terminal/option-values.ts'
import { print, say } from '../terminal/print.ts'
import { callLines, shownHash } from '../terminal/waiting-call.ts'

type Options = ServerOptions & {
  readonly reason?: string
  readonly seq?: number
  readonly seen?: Seen
  readonly call?: string
  readonly always?: boolean
}

const CALL = [
  '--call <hash>',
  'the hash of the call that you saw, or its first 16 digits, as "retrai show" prints it: needed if a call waits',
  callHash,
] as const

const SEEN = [
  '--seen <seq:hash>',
  'the last record that you saw: refused if the log has another record there',
  seen,
] as const

/** `retrai approve RUN`: lets a run that waits for a person continue, or the call begin that waits. */
export function approveCommand(): Command {
  return serverCommand('approve')
    .description(
      'Approve another iteration of a run that waits for a person, or the call that waits.',
    )
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', 'kept in the log, and shown to the model')
    .option('--seq <seq>', 'the question that you answer: refused if another one is open', seq)
    .option(...CALL)
    .option('--always', 'with --call: the rule asks no more in this run')
    .option(...SEEN)
    .action((runId: string, options: Options) =>
      whenConnected(options, (connection) => answer(connection, runId, 'allow', options)),
    )
}

/** `retrai deny RUN`: the call that waits does not run. */
export function denyCommand(): Command {
  return serverCommand('deny')
    .description('Deny the call that waits. The run continues, and the model reads the reason.')
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', 'kept in the log, and shown to the model')
    .option(...CALL)
    .option(...SEEN)
    .action((runId: string, options: Options) =>
      whenConnected(options, (connection) => answer(connection, runId, 'deny', options)),
    )
}

async function answer(
  { client, explain, hint }: Connection,
  runId: string,
  decision: 'allow' | 'deny',
  { reason, seq: wanted, seen, call, always = false }: Options,
): Promise<Result<number, string>> {
  const found = await client.runs.get(runId)
  if (found.isErr()) return err(explain(found.error))
  const waiting = found.value.progress.waiting_for
  if (waiting?.approval === undefined) {
    if (call !== undefined || decision === 'deny')
      return err('No call of this run waits for a person now.')
    const resumed = await client.runs.resume(runId, {
      decision: 'approve',
      reason,
      seq: wanted,
      seen,
    })
    if (resumed.isErr()) return err(explain(resumed.error))
    await print(`${resumed.value.run_id} ${resumed.value.status}`)
    return ok(EXIT.done)
  }
  const { approval, seq } = waiting
  if (call === undefined || !approval.call_sha256.startsWith(call)) {
    say(...callLines(approval))
    const command = decision === 'allow' ? 'approve' : 'deny'
    return err(
      `${call === undefined ? 'Name the call that you saw' : 'Another call waits'}: ${hint(command, runId, '--call', shownHash(approval))}`,
    )
  }
  const { call_sha256 } = approval
  const body = { decision, call_sha256, reason, seen, lifts_rule: always }
  const answered = await client.runs.answer(runId, wanted ?? seq, body)
  if (answered.isErr()) return err(explain(answered.error))
  await print(`${answered.value.run_id} ${answered.value.status}`)
  return ok(EXIT.done)
}
