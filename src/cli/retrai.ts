#!/usr/bin/env node
import { Command } from 'commander'
import { EXIT } from './terminal/exit-codes.ts'
import { dress } from './terminal/help.ts'
import { fail } from './terminal/print.ts'

/** Only the wanted command is loaded: a server that starts needs no client, and a client no server. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./commands/serve.ts')).serveCommand(),
  run: async () => (await import('./commands/run.ts')).runCommand(),
  watch: async () => (await import('./commands/watch.ts')).watchCommand(),
  runs: async () => (await import('./commands/runs.ts')).runsCommand(),
  show: async () => (await import('./commands/runs.ts')).showCommand(),
  approve: async () => (await import('./commands/steer.ts')).approveCommand(),
  deny: async () => (await import('./commands/steer.ts')).denyCommand(),
  abort: async () => (await import('./commands/steer.ts')).abortCommand(),
  configure: async () => (await import('./commands/steer.ts')).configureCommand(),
  send: async () => (await import('./commands/steer.ts')).sendCommand(),
  redact: async () => (await import('./commands/redact.ts')).redactCommand(),
  goals: async () => (await import('./commands/goals.ts')).goalsCommand(),
  models: async () => (await import('./commands/runs.ts')).modelsCommand(),
  replay: async () => (await import('./commands/replay.ts')).replayCommand(),
  export: async () => (await import('./commands/bundles.ts')).exportCommand(),
  verify: async () => (await import('./commands/verify.ts')).verifyCommand(),
  import: async () => (await import('./commands/bundles.ts')).importCommand(),
  access: async () => (await import('./commands/access.ts')).accessCommand(),
  key: async () => (await import('./commands/key.ts')).keyCommand(),
  token: async () => (await import('./commands/token.ts')).tokenCommand(),
  backup: async () => (await import('./commands/copy.ts')).backupCommand(),
  copy: async () => (await import('./commands/copy.ts')).copyCommand(),
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand(),
}

const program = new Command('retrai')
  .description(
    'Runs coding agents towards a goal that can be checked, and keeps a record that can be trusted.',
  )
  .version('0.1.0')

const [, , name = '', about] = process.argv
const wanted = Object.hasOwn(COMMANDS, name) ? [name] : Object.keys(COMMANDS)
for (const each of wanted) {
  const command = await COMMANDS[each]?.()
  if (command !== undefined) program.addCommand(command)
}

dress(program, 'retrai')
if (name === 'help' && about !== undefined && !['help', ...Object.keys(COMMANDS)].includes(about)) {
  program.error(`error: unknown command '${about}'`)
}

program.hook('preAction', (_, command) => {
  if (command.name() !== 'serve') process.on('uncaughtException', endWithFault)
})

/** A fault of this program must not look like the end of a run or like a verdict. Its text may quote anything. */
function endWithFault(thrown: Error): void {
  fail(...(thrown.stack ?? thrown.message).split('\n'))
  process.exit(EXIT.notDone)
}

await program.parseAsync()
