import { type Command, Option } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { EFFORTS, type Effort, type Seen } from '../../api/records.ts'
import type { RunStanding } from '../../client/index.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import {
  callHash,
  given,
  names,
  positiveInt,
  seen,
  seq,
  wordsOf,
} from '../terminal/option-values.ts'
import { print, say } from '../terminal/print.ts'
import { callLines, shownHash } from '../terminal/waiting-call.ts'

type AbortOptions = ServerOptions & {
  readonly reason?: string
  readonly seen?: Seen
}

const SEEN = [
  '--seen <seq:hash>',
  'the last record that you saw: refused if the log has another record there',
  seen,
] as const

/** `retrai abort RUN`: ends a run, whatever it is doing. */
export function abortCommand(): Command {
  return serverCommand('abort')
    .description('Abort a run, whatever it is doing.')
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', 'kept in the log')
    .option(...SEEN)
    .action((runId: string, { reason, seen, ...options }: AbortOptions) =>
      whenConnected(options, async ({ client, explain }) => {
        return printStatus((await client.runs.abort(runId, { reason, seen })).mapErr(explain))
      }),
    )
}

type ConfigureOptions = ServerOptions & {
  readonly model?: string
  readonly effort?: Effort | 'default'
  readonly maxOutputTokens?: number
  readonly fallback?: readonly string[]
  readonly maxIterations?: number
  /** False for --no-hitl. */
  readonly hitl?: boolean
  readonly reason?: string
  readonly seen?: Seen
}

/** `retrai configure RUN`: changes the configuration of a run while it works. */
export function configureCommand(): Command {
  return serverCommand('configure')
    .description('Change the configuration of a run, from its next step on.')
    .argument('<run>', 'the id of the run')
    .option('--model <name>', 'the model; "retrai models" lists the models')
    .addOption(
      new Option(
        '--effort <effort>',
        "how much the model may think; default: the model's own",
      ).choices([...EFFORTS, 'default']),
    )
    .option('--max-output-tokens <n>', 'the most tokens of one reply', positiveInt)
    .option(
      '--fallback <models>',
      'if the model fails, continue with these, with commas between them',
      names,
    )
    .option('--max-iterations <n>', 'the most iterations', positiveInt)
    .option('--hitl', 'wait for a person after every iteration that did not reach the goal')
    .option('--no-hitl', 'do not wait for a person')
    .option('--reason <text>', 'kept in the log')
    .option(...SEEN)
    .action((runId: string, { reason, seen, ...options }: ConfigureOptions) =>
      whenConnected(options, async ({ client, explain }) => {
        const changed = changesOf(options)
        if (Object.keys(changed).length === 0) {
          return err('Name what to change, such as --max-iterations 40 or --no-hitl.')
        }
        const changes = { ...changed, reason, seen }
        return printStatus((await client.runs.configure(runId, changes)).mapErr(explain))
      }),
    )
}

function changesOf({
  model,
  effort,
  maxOutputTokens,
  fallback,
  maxIterations,
  hitl,
}: ConfigureOptions) {
  return given({
    model_name: model,
    reasoning_effort: effort === 'default' ? null : effort,
    max_output_tokens: maxOutputTokens,
    fallback_models: fallback,
    max_iterations: maxIterations,
    hitl_enabled: hitl,
  })
}

type SendOptions = ServerOptions & { readonly file?: string }

/** `retrai send RUN TEXT`: says something to the agent of a run. */
export function sendCommand(): Command {
  return serverCommand('send')
    .description('Say something to the agent of a run. Its next request to the model holds it.')
    .argument('<run>', 'the id of the run')
    .argument('[text]', 'what you say')
    .option('-f, --file <path>', 'read it from a file; "-" is the standard input')
    .action((runId: string, text: string | undefined, { file, ...options }: SendOptions) =>
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

type AnswerOptions = ServerOptions & {
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

/** `retrai approve RUN`: lets a run that waits for a person continue, or lets the waiting call begin. */
export function approveCommand(): Command {
  return serverCommand('approve')
    .description(
      'Approve another iteration of a run that waits for a person, or the call that waits.',
    )
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', 'kept in the log, and shown to the model')
    .option('--seq <seq>', 'the question that you answer: refused if another one is open', seq)
    .option(...CALL)
    .option('--always', 'with --call: the rule no longer asks in this run')
    .option(...SEEN)
    .action((runId: string, options: AnswerOptions) =>
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
    .action((runId: string, options: AnswerOptions) =>
      whenConnected(options, (connection) => answer(connection, runId, 'deny', options)),
    )
}

async function answer(
  { client, explain, hint }: Connection,
  runId: string,
  decision: 'allow' | 'deny',
  { reason, seq: wanted, seen, call, always = false }: AnswerOptions,
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
    return printStatus(resumed.mapErr(explain))
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
  return printStatus(answered.mapErr(explain))
}

async function printStatus(done: Result<RunStanding, string>): Promise<Result<number, string>> {
  if (done.isErr()) return err(done.error)
  await print(`${done.value.run_id} ${done.value.status}`)
  return ok(EXIT.done)
}
