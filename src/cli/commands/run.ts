import { isUtf8 } from 'node:buffer'
import { constants } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { Command } from 'commander'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { CreateRun, requestOfRun } from '../../api/create-run.ts'
import { HistoryError, type RunRequest } from '../../client/index.ts'
import { MOST_FILES } from '../../domain/acceptance.ts'
import { present } from '../../domain/present.ts'
import { messageOf } from '../../lib/message-of.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { atTerminal } from '../terminal/ask.ts'
import {
  type ConfigOptions,
  configIn,
  JSON_EVENTS,
  JSON_LINES,
  type JsonOption,
  repeated,
  seq,
  withConfig,
  wordsOf,
} from '../terminal/option-values.ts'
import { printList, say } from '../terminal/print.ts'
import { type Calls, OUTCOME_EXIT_CODES } from '../terminal/steps.ts'
import { startRun } from './watch.ts'

/** What a person may say to every command that starts a run. */
type Starting = ConfigOptions & JsonOption & { readonly detach?: boolean }

const starting = (command: Command): Command =>
  withConfig(command, CreateRun)
    .option('--detach', 'only start it, and print its id')
    .option(...JSON_EVENTS)

type Options = Starting & {
  readonly cwd: string
  readonly check?: readonly string[]
  readonly message?: string
  readonly file?: string
  readonly reason?: string
  readonly copy?: boolean
  readonly accept?: string
}

/** `retrai run [GOAL…]`: starts a run and watches it to its end. */
export function runCommand(): Command {
  const described = serverCommand('run', OUTCOME_EXIT_CODES)
    .description(
      'Start a run and watch it until it ends. Ctrl+C stops watching, not the run. At a limit, a run that was started at a terminal waits until you raise it; others end.',
    )
    .argument(
      '[goals...]',
      'the goal, or several that must hold together; "retrai goals" lists them (default: the first that fits the project)',
    )
    .option('-m, --message <text>', 'what the agent should do in addition to reaching the goal')
    .option('-f, --file <path>', 'read these instructions from a file; "-" is the standard input')
    .option('--cwd <folder>', "the project's folder, on the machine of the server", '.')
  return starting(described)
    .option('--copy', 'work in a copy of the project; "retrai apply" carries over what was done')
    .option('--reason <text>', 'why you start it; kept in the log')
    .option(
      '--check <command>',
      'a command that must succeed, or, with one goal, that replaces its command; may be repeated',
      repeated,
    )
    .option(
      '--accept <folder>',
      'a check that the agent does not see: these files are put into a copy of the project when the goal is reached, and "bash accept.sh" must succeed there',
    )
    .action(connected(run))
}

async function* run(connection: Connection, names: readonly string[], options: Options): Calls {
  const instructions = yield* await wordsOf({ text: options.message, file: options.file })
  const config = configIn(options)
  const isNamed = names.length > 0 || options.check !== undefined
  const isSet = 'goal' in config || 'check' in config || 'all_of' in config
  const goal = isSet && !isNamed ? {} : yield* chosenGoal(connection, names, options)
  const accept = yield* await acceptanceFrom(options.accept)
  const { cwd, copy, reason } = options
  const request: RunRequest = {
    ...goal,
    cwd: resolve(cwd),
    instructions,
    ...present({ accept, reason }),
    ...(atTerminal() && { on_limit: 'pause' }),
    ...(copy === true && { workspace: 'copy' }),
    ...config,
  }
  return yield* startRun(connection, request, options)
}

/** What is run in the folder of a hidden check. */
const SCRIPT = 'accept.sh'

/** The check that the agent does not see, from a folder; undefined if a person names none. The server limits its bytes. */
async function acceptanceFrom(
  folder: string | undefined,
): Promise<Result<RunRequest['accept'], string>> {
  if (folder === undefined) return ok(undefined)
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    const below = entries.filter((entry) => !entry.isDirectory())
    if (below.length > MOST_FILES) return err(`${folder} has more than ${MOST_FILES} files.`)
    const files: Record<string, string> = {}
    for (const entry of below) {
      const at = join(entry.parentPath, entry.name)
      if (!entry.isFile()) return err(`${at} is a link, or no file. Only files can be sent.`)
      const content = await readFile(at, { flag: constants.O_RDONLY | constants.O_NOFOLLOW })
      if (!isUtf8(content)) return err(`${at} is not text in UTF-8, so it cannot be sent.`)
      files[relative(folder, at)] = content.toString()
    }
    if (Object.hasOwn(files, SCRIPT)) return ok({ files, command: `bash ${SCRIPT}` })
    return err(`${folder} has no ${SCRIPT}, which must succeed for the goal to be reached.`)
  } catch (cause) {
    return err(`The folder of --accept cannot be read: ${messageOf(cause)}`)
  }
}

/** What a person does about a project that no goal fits. */
const noGoalFits = (cwd: string): string =>
  `No goal seems to fit ${cwd}. Name one ("retrai goals" lists all), or a command that must succeed: retrai run --check 'make test'`

/** What a run must reach: the goals that a person names, or the first that fits the project. The server checks them. */
async function* chosenGoal(
  connection: Connection,
  names: readonly string[],
  { check: checks = [], cwd }: Options,
): Calls<Pick<RunRequest, 'goal' | 'check' | 'all_of'>> {
  const goals = names.map((goal) => ({ goal }))
  const commands = checks.map((command) => ({ check: { command } }))
  if (goals.length === 0 && commands.length === 0) return yield* firstThatFits(connection, cwd)
  if (goals.length <= 1 && commands.length <= 1) return { ...goals[0], ...commands[0] }
  return { all_of: [...goals, ...commands] }
}

async function* firstThatFits({ client }: Connection, cwd: string): Calls<{ goal: string }> {
  const folder = resolve(cwd)
  const [best] = yield* client.goals({ cwd: folder })
  if (best === undefined) return yield* err(noGoalFits(folder))
  say(`The goal is ${best.name}${best.because === undefined ? '' : `, because ${best.because}`}.`)
  return { goal: best.name }
}

type ForkOptions = Starting & {
  readonly at: number
  readonly message?: string
  readonly file?: string
}

/** `retrai fork RUN --at SEQ`: starts a run that begins from a record of another one, and watches it. */
export const forkCommand = (): Command =>
  starting(
    serverCommand('fork', OUTCOME_EXIT_CODES)
      .description(
        'Continue from a record of a run, with its conversation and its files as they were there, in a copy of its project. "retrai replay" shows the records.',
      )
      .argument('<run>', 'the id of the run')
      .requiredOption('--at <seq>', 'seq of the record', seq)
      .option('-m, --message <text>', 'what the agent should do from there')
      .option('-f, --file <path>', 'read that from a file; "-" is the standard input'),
  ).action(connected(fork))

async function* fork(connection: Connection, given: string, options: ForkOptions): Calls {
  const { at, message: text, file } = options
  const { client } = connection
  const { run_id } = yield* client.runs.get(given)
  const instructions = yield* await wordsOf({ text, file })
  const request = { fork: { run_id, at }, instructions, ...configIn(options) }
  return yield* startRun(connection, request, options)
}

/** `retrai again RUN`: starts a run with the same request, and watches it. */
export const againCommand = (): Command =>
  starting(
    serverCommand('again', OUTCOME_EXIT_CODES)
      .description(
        'Start the same run again, from the beginning, with what you change, and watch it.',
      )
      .argument('<run>', 'the id of the run'),
  ).action(connected(again))

async function* again(connection: Connection, runId: string, options: Starting): Calls {
  const { client } = connection
  const records = client.history.events(runId, { kinds: ['run_created'] })
  const { value: first } = yield* await ResultAsync.fromPromise(records.next(), (cause) =>
    cause instanceof HistoryError ? cause.error : messageOf(cause),
  )
  await records.return()
  if (first === undefined) return yield* err(`The run ${runId} has no first record.`)
  const { accept } = first.payload.config
  const open = accept && (yield* client.history.artifact(runId, accept.sha256))
  const kept = open && (yield* ResultAsync.fromPromise(buffer(open), messageOf))
  const request = requestOfRun(first.payload, kept?.toString() ?? null)
  return yield* startRun(connection, { ...request, ...configIn(options) }, options)
}

/** `retrai goals`: the goals that a run can have. */
export const goalsCommand = (): Command =>
  serverCommand('goals')
    .description('List the goals that a run can have, or those that fit a project, best first.')
    .option('--cwd <folder>', 'the folder of a project, on the machine of the server')
    .option(...JSON_LINES)
    .action(connected(listGoals))

async function* listGoals(
  { client }: Connection,
  { json = false, cwd }: JsonOption & { readonly cwd?: string },
): Calls {
  const folder = cwd === undefined ? undefined : resolve(cwd)
  const goals = yield* client.goals(folder === undefined ? {} : { cwd: folder })
  if (!json && folder !== undefined && goals.length === 0) return say(noGoalFits(folder))
  const third = folder === undefined ? 'SETTINGS' : 'WHY IT FITS'
  await printList(json, ['GOAL', third, 'WHAT IT MEANS'], goals, (goal) => {
    const settings = goal.check === 'optional' ? '[--check]' : ''
    return [goal.name, folder === undefined ? settings : (goal.because ?? ''), goal.description]
  })
}
