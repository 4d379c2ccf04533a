import { buffer } from 'node:stream/consumers'
import type { Command } from 'commander'
import { err, ResultAsync } from 'neverthrow'
import { requestOfRun } from '../../api/create-run.ts'
import { messageOf } from '../../lib/message-of.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import {
  type ConfigOptions,
  configIn,
  JSON_EVENTS,
  type JsonOption,
  seq,
  withConfig,
  wordsOf,
} from '../terminal/option-values.ts'
import { OUTCOME_EXIT_CODES, type Steps } from '../terminal/steps.ts'
import { startRun } from './watch.ts'

type Changed = ConfigOptions & JsonOption & { readonly detach?: boolean }

const changed = (command: Command): Command =>
  withConfig(command)
    .option('--detach', 'only start it, and print its id')
    .option(...JSON_EVENTS)

type ForkOptions = Changed & {
  readonly at: number
  readonly message?: string
  readonly file?: string
}

/** `retrai fork RUN --at SEQ`: starts a run that begins from a record of another one, and watches it. */
export const forkCommand = (): Command =>
  changed(
    serverCommand('fork', OUTCOME_EXIT_CODES)
      .description(
        'Continue from a record of a run, with its conversation and its files as they were there, in a copy of its project. "retrai replay" shows the records.',
      )
      .argument('<run>', 'the id of the run')
      .requiredOption('--at <seq>', 'seq of the record', seq)
      .option('-m, --message <text>', 'what the agent should do from there')
      .option('-f, --file <path>', 'read that from a file; "-" is the standard input'),
  ).action(connected(fork))

async function* fork(connection: Connection, run_id: string, options: ForkOptions): Steps {
  const { at, message: text, file } = options
  const instructions = yield* await wordsOf({ text, file })
  const request = { fork: { run_id, at }, instructions, ...configIn(options) }
  return yield* startRun(connection, request, options)
}

/** `retrai again RUN`: starts a run with the same request, and watches it. */
export const againCommand = (): Command =>
  changed(
    serverCommand('again', OUTCOME_EXIT_CODES)
      .description(
        'Start the same run again, from the beginning, with what you change, and watch it.',
      )
      .argument('<run>', 'the id of the run'),
  ).action(connected(again))

async function* again(connection: Connection, runId: string, options: Changed): Steps {
  const { client, explain } = connection
  for await (const { payload } of client.history.events(runId, { kinds: ['run_created'] })) {
    const { accept } = payload.config
    const open = accept && (yield* client.history.artifact(runId, accept.sha256).mapErr(explain))
    const kept = open && (yield* ResultAsync.fromPromise(buffer(open), messageOf))
    const request = requestOfRun(payload, kept?.toString() ?? null)
    return yield* startRun(connection, { ...request, ...configIn(options) }, options)
  }
  return yield* err(`The run ${runId} has no first record.`)
}
