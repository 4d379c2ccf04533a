import { once } from 'node:events'
import { Command, CommanderError } from 'commander'
import { messageOf } from '../lib/message-of.ts'
import { type Io, io, withIo } from './terminal/io.ts'
import { say } from './terminal/print.ts'
import { EXIT } from './terminal/steps.ts'

/** Only the wanted command is loaded: a server that starts needs no client, and a client no server. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  up: async () => (await import('./commands/serve.ts')).upCommand(),
  serve: async () => (await import('./commands/serve.ts')).serveCommand(),
  run: async () => (await import('./commands/run.ts')).runCommand(),
  watch: async () => (await import('./commands/watch.ts')).watchCommand(),
  runs: async () => (await import('./commands/runs.ts')).runsCommand(),
  search: async () => (await import('./commands/runs.ts')).searchCommand(),
  show: async () => (await import('./commands/runs.ts')).showCommand(),
  approve: async () => (await import('./commands/steer.ts')).approveCommand(),
  deny: async () => (await import('./commands/steer.ts')).denyCommand(),
  abort: async () => (await import('./commands/steer.ts')).abortCommand(),
  configure: async () => (await import('./commands/steer.ts')).configureCommand(),
  send: async () => (await import('./commands/steer.ts')).sendCommand(),
  fork: async () => (await import('./commands/run.ts')).forkCommand(),
  again: async () => (await import('./commands/run.ts')).againCommand(),
  rollback: async () => (await import('./commands/steer.ts')).rollbackCommand(),
  apply: async () => (await import('./commands/steer.ts')).applyCommand(),
  discard: async () => (await import('./commands/steer.ts')).discardCommand(),
  redact: async () => (await import('./commands/access-and-redact.ts')).redactCommand(),
  hold: async () => (await import('./commands/retention.ts')).holdCommand(),
  retention: async () => (await import('./commands/retention.ts')).retentionCommand(),
  goals: async () => (await import('./commands/run.ts')).goalsCommand(),
  models: async () => (await import('./commands/runs.ts')).modelsCommand(),
  replay: async () => (await import('./commands/history.ts')).replayCommand(),
  diff: async () => (await import('./commands/history.ts')).diffCommand(),
  export: async () => (await import('./commands/bundles.ts')).exportCommand(),
  verify: async () => (await import('./commands/verify.ts')).verifyCommand(),
  import: async () => (await import('./commands/bundles.ts')).importCommand(),
  recheck: async () => (await import('./commands/recheck.ts')).recheckCommand(),
  access: async () => (await import('./commands/access-and-redact.ts')).accessCommand(),
  witness: async () => (await import('./commands/witness.ts')).witnessCommand(),
  key: async () => (await import('./commands/admin.ts')).keyCommand(),
  token: async () => (await import('./commands/admin.ts')).tokenCommand(),
  webhooks: async () => (await import('./commands/admin.ts')).webhooksCommand(),
  backup: async () => (await import('./commands/operations.ts')).backupCommand(),
  copy: async () => (await import('./commands/operations.ts')).copyCommand(),
  doctor: async () => (await import('./commands/operations.ts')).doctorCommand(),
  completions: async () =>
    (await import('./commands/completions.ts')).completionsCommand(() => programFor('')),
}

/**
 * Carries out a command line, without the name of the program. It ends early if its output cannot be written, also if it
 * waits for something else.
 * @returns the exit code
 */
export function runCommandLine(args: readonly string[], given: Io): Promise<number> {
  return withIo(given, () => Promise.race([unwritable(given), carryOut(args)]))
}

async function carryOut(args: readonly string[]): Promise<number> {
  const [name = '', about] = args
  try {
    const program = await programFor(name)
    if (
      name === 'help' &&
      about !== undefined &&
      !['help', ...Object.keys(COMMANDS)].includes(about)
    ) {
      program.error(`error: unknown command '${about}'`)
    }
    await program.parseAsync(args, { from: 'user' })
    return Number(io().exitCode ?? EXIT.done)
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown
    if (thrown.exitCode === 0) return EXIT.done
    // A server that cannot start ends with 1, also for a wrong option.
    return name === 'serve' || name === 'up' ? EXIT.failed : EXIT.notDone
  }
}

/** What shells use for SIGPIPE. */
const BROKEN_PIPE = 141

/** The exit code once the output cannot be written: quietly when its reader has ended, as with `| head`. */
async function unwritable({ stdout }: Io): Promise<number> {
  const [cause] = await once(stdout, 'error')
  if (cause.code === 'EPIPE') return BROKEN_PIPE
  say(`retrai: The output cannot be written: ${messageOf(cause)}`)
  return EXIT.notDone
}

async function programFor(name: string): Promise<Command> {
  const program = new Command('retrai')
    .description(
      'Runs coding agents towards a goal that can be checked, and keeps a record that can be trusted.',
    )
    .version('0.1.0')
  const wanted = Object.hasOwn(COMMANDS, name) ? [name] : Object.keys(COMMANDS)
  for (const each of wanted) {
    const command = await COMMANDS[each]?.()
    if (command !== undefined) program.addCommand(command)
  }
  configureOutput(program, 'retrai')
  return program
}

/** What to write in place of an option or a form of a command that was taken back. */
const INSTEAD: readonly (readonly [RegExp, string])[] = [
  [/^export --data-dir$/, 'Start a server on that folder, and export from it.'],
  [/^token \w+ --data-dir$/, 'Start a server, with RETRAI_TOKEN to make its first start safe.'],
  [/^watch run$/, 'Name a run, or "last"; GET /api/events has all runs.'],
  [/^watch --after$/, 'Write --from with the number of the next record.'],
  [/^run --also$/, 'Repeat --check.'],
  [/^redact --secret-file$/, 'Write -f FILE.'],
  [/^redact --yes$/, 'Write --force.'],
  [/^(?:approve|deny) --call$/, 'Write the hash of the call after the run.'],
]

/** Has a command, and those below it, write help and errors alike. @param line what a person types for it */
function configureOutput(command: Command, line: string): void {
  command.configureHelp({ subcommandTerm: (each) => each.name() }).configureOutput({
    writeOut: (text) => io().stdout.write(text),
    writeErr: (text) => io().stderr.write(text),
    outputError: (given, write) => {
      // Commander looks for what is missing before it looks for what is too much, which may say why.
      const odd = given.includes('required option') && command.args.find((arg) => arg[0] === '-')
      const text = odd ? `error: unknown option '${odd}'` : given
      const what = text
        .replace(/^error: /, '')
        .trimEnd()
        .replace('\n(', ' (')
      const named = `${line.replace(/^retrai /, '')} ${/'(.*)'/.exec(text)?.[1]}`
      const isField =
        text.includes('unknown option') && command.options.some((one) => one.long === '--set')
      const [, advice = isField ? '"--set FIELD=VALUE" gives any field of the request.' : ''] =
        INSTEAD.find(([form]) => form.test(named)) ?? []
      const sentences = [
        what.replace(/[^.)]$/, '$&.'),
        advice,
        `"${line} --help" says how it is used.`,
      ]
      write(`retrai: ${sentences.filter(Boolean).join(' ')}\n`)
    },
  })
  command.exitOverride()
  for (const each of command.commands) configureOutput(each, `${line} ${each.name()}`)
}
