import { type Command, Option } from 'commander'
import { err, type ResultAsync } from 'neverthrow'
import { type ApplyRun, ConfigureRun } from '../../api/run-requests.ts'
import type { CarriedFiles, RequestError, RunStanding } from '../../client/index.ts'
import { oneLine } from '../../domain/plain-text.ts'
import { present } from '../../domain/present.ts'
import { counted } from '../../lib/text.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { agrees, atTerminal } from '../terminal/ask.ts'
import {
  type ConfigOptions,
  callHash,
  configIn,
  JSON_LINES,
  type JsonOption,
  seq,
  withConfig,
  wordsOf,
} from '../terminal/option-values.ts'
import { print, printJson, say } from '../terminal/print.ts'
import type { Calls } from '../terminal/steps.ts'
import { printPatch } from './history.ts'
import { callLines, shownHash } from './human-checks.ts'

/** What a person may say about a decision. */
type Why = { readonly reason?: string }

/** A command about one run, for which a person may give a reason. */
const decision = (name: string, description: string, kept = 'kept in the log'): Command =>
  serverCommand(name)
    .description(description)
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', kept)

async function* printStatus(done: ResultAsync<RunStanding, RequestError>): Calls {
  const { run_id, status } = yield* done
  await print(`${run_id} ${status}`)
}

/** `retrai abort RUN`: ends a run, whatever it is doing. */
export const abortCommand = (): Command =>
  decision('abort', 'Abort a run, whatever it is doing.').action(
    connected(({ client }, runId: string, { reason }: Why) =>
      printStatus(client.runs.abort(runId, { reason })),
    ),
  )

/** `retrai configure RUN`: changes the configuration of a run while it works. */
export const configureCommand = (): Command =>
  withConfig(
    decision(
      'configure',
      'Change the configuration of a run, from its next step on. A run that a limit has paused continues when that is raised. Tags alone also change after its end.',
    ),
    ConfigureRun,
  ).action(connected(configure))

async function* configure(
  { client }: Connection,
  runId: string,
  options: Why & ConfigOptions,
): Calls {
  const changes = configIn(options)
  if (Object.keys(changes).length === 0) {
    return yield* err('Name what to change, such as --set max_iterations=40 or --tag nightly.')
  }
  const { reason } = options
  yield* printStatus(client.runs.configure(runId, { ...changes, reason }))
}

/** `retrai send RUN TEXT`: says something to the agent of a run. */
export const sendCommand = (): Command =>
  serverCommand('send')
    .description(
      'Say something to the agent of a run. Its next request to the model holds it. If the run has ended, another one continues it.',
    )
    .argument('<run>', 'the id of the run')
    .argument('[text]', 'what you say')
    .option('-f, --file <path>', 'read it from a file; "-" is the standard input')
    .action(connected(send))

async function* send(
  { client, hint }: Connection,
  runId: string,
  said: string | undefined,
  { file }: { readonly file?: string },
): Calls {
  const text = yield* await wordsOf({ text: said, file })
  if (text === null) return yield* err('Say something: retrai send RUN TEXT, or -f FILE.')
  const sent = yield* client.runs.send(runId, { text })
  const { run_id, status } = sent
  if ('seq' in sent) return await print(`${run_id} ${status}, record ${sent.seq}`)
  await print(`${run_id} ${status}`)
  say(`The run had ended, so another one continues it. To watch it: ${hint('watch', run_id)}`)
}

const answerCommand = (name: string, description: string, kept: string): Command =>
  decision(name, description, kept).argument(
    '[call]',
    'the hash of the call that you saw, or its first 16 digits, as "retrai show" prints it: needed if a call waits',
    callHash,
  )

/** `retrai approve RUN`: lets a run that waits for a person or is paused continue, or lets the waiting call begin. */
export const approveCommand = (): Command =>
  answerCommand(
    'approve',
    'Approve another iteration of a run that waits for a person, or the call that waits, or let a paused run continue.',
    'kept in the log; if an iteration is approved, the model reads it',
  ).action(connected(answering('allow')))

/** `retrai deny RUN`: the call that waits does not run. */
export const denyCommand = (): Command =>
  answerCommand(
    'deny',
    'Deny the call that waits. The run continues, and the model reads the reason.',
    'kept in the log, and shown to the model',
  ).action(connected(answering('deny')))

const answering = (decision: 'allow' | 'deny') =>
  async function* (
    { client, hint }: Connection,
    runId: string,
    call: string | undefined,
    { reason }: Why,
  ): Calls {
    const { progress } = yield* client.runs.get(runId)
    const waiting = progress.waiting_for
    if (waiting?.approval === undefined) {
      if (call !== undefined || decision === 'deny') {
        return yield* err('No call of this run waits for a person now.')
      }
      const approval = { decision: 'approve', reason } as const
      return yield* printStatus(client.runs.resume(runId, approval))
    }
    const { approval, seq } = waiting
    const { call_sha256 } = approval
    if (call === undefined || !call_sha256.startsWith(call)) {
      say(...callLines(approval))
      const what = call === undefined ? 'Name the call that you saw' : 'Another call waits'
      const command = decision === 'allow' ? 'approve' : 'deny'
      return yield* err(`${what}: ${hint(command, runId, shownHash(approval))}`)
    }
    const body = { decision, call_sha256, reason }
    yield* printStatus(client.runs.answer(runId, seq, body))
  }

type CarryOptions = Why & JsonOption & { readonly dryRun?: boolean }

const carrying = (name: string, description: string): Command =>
  decision(name, description)
    .option('--dry-run', 'only show what would be written, and what is in conflict')
    .option(...JSON_LINES)

/** `retrai rollback RUN`: the files of the project as they were at an earlier snapshot. */
export const rollbackCommand = (): Command =>
  carrying('rollback', 'Make the files of the project those of an earlier snapshot of a run.')
    .option('--to <seq>', 'as of this record; 0 is as the run found them', seq, 0)
    .action(
      connected((connection, run: string, { to, ...how }: CarryOptions & { readonly to: number }) =>
        carry(how, (why) => connection.client.runs.rollback(run, { to, ...why })),
      ),
    )

/** `retrai apply RUN`: what a run did in its copy. */
export const applyCommand = (): Command =>
  carrying('apply', 'Carry what a run did in its copy over to the project.')
    .addOption(
      new Option('--as <what>', 'onto the files, as a patch on the standard output, or as a branch')
        .choices(['files', 'patch', 'branch'])
        .default('files'),
    )
    .action(
      connected((connection, run: string, { as, ...how }: CarryOptions & Pick<ApplyRun, 'as'>) =>
        carry(how, (why) => connection.client.runs.apply(run, { as, ...why })),
      ),
    )

/** `retrai discard RUN`: removes the copy of a run that has ended. */
export const discardCommand = (): Command =>
  decision('discard', 'Remove the copy in which a run has worked.').action(
    connected(async function* ({ client }, run: string, { reason }: Why): Calls {
      const { run_id } = yield* client.runs.discard(run, { reason })
      await print(`${run_id}: the copy is removed`)
    }),
  )

/** Shows what will be written, asks a person at the terminal, and has it done. */
async function* carry(
  { dryRun = false, json = false, reason }: CarryOptions,
  send: (why: Why & { readonly dry_run: boolean }) => ResultAsync<CarriedFiles, RequestError>,
): Calls {
  const why = present({ reason })
  if (dryRun || (atTerminal() && !json)) {
    const look = yield* send({ ...why, dry_run: true })
    if (json) return printJson(look)
    for (const { action, path, conflict } of look.files) {
      const but = conflict === undefined ? '' : `  in conflict: ${conflict}`
      await print(`${action.padEnd(7)} ${oneLine(path)}${but}`)
    }
    for (const path of look.not_carried) say(`not carried: ${oneLine(path)}`)
    if (dryRun) return say(`Nothing was written. ${counted(look.files.length, 'file')} would be.`)
    if (!(await agrees('Do it?'))) return yield* err('Nothing was done.')
  }
  const done = yield* send({ ...why, dry_run: false })
  if (json) return printJson(done)
  if (done.patch !== undefined) return printPatch(done.patch)
  for (const path of done.not_carried) say(`not carried: ${oneLine(path)}`)
  await print(done.branch ?? `${counted(done.files.length, 'file')} written, record ${done.seq}`)
}
