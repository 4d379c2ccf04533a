#!/usr/bin/env node
import { Command } from 'commander'
import { accessCommand } from './commands/access.ts'
import { backupCommand, copyCommand } from './commands/backup.ts'
import { configureCommand } from './commands/configure.ts'
import { doctorCommand } from './commands/doctor.ts'
import { exportCommand } from './commands/export.ts'
import { abortCommand, approveCommand } from './commands/human-checks.ts'
import { importCommand } from './commands/import.ts'
import { keyCommand } from './commands/key.ts'
import { modelsCommand } from './commands/models.ts'
import { redactCommand } from './commands/redact.ts'
import { replayCommand } from './commands/replay.ts'
import { runCommand } from './commands/run.ts'
import { goalsCommand, runsCommand, showCommand } from './commands/runs.ts'
import { sendCommand } from './commands/send.ts'
import { serveCommand } from './commands/serve.ts'
import { tokenCommand } from './commands/token.ts'
import { verifyCommand } from './commands/verify.ts'
import { watchCommand } from './commands/watch.ts'
import { EXIT } from './terminal/exit-codes.ts'
import { fail } from './terminal/print.ts'

const program = new Command('retrai')
  .description(
    'Runs coding agents towards a goal that can be checked, and keeps a record that can be trusted.',
  )
  .version('0.1.0')
  .addCommand(serveCommand())
  .addCommand(runCommand())
  .addCommand(watchCommand())
  .addCommand(runsCommand())
  .addCommand(showCommand())
  .addCommand(approveCommand())
  .addCommand(abortCommand())
  .addCommand(configureCommand())
  .addCommand(sendCommand())
  .addCommand(redactCommand())
  .addCommand(goalsCommand())
  .addCommand(modelsCommand())
  .addCommand(replayCommand())
  .addCommand(exportCommand())
  .addCommand(verifyCommand())
  .addCommand(importCommand())
  .addCommand(accessCommand())
  .addCommand(keyCommand())
  .addCommand(tokenCommand())
  .addCommand(backupCommand())
  .addCommand(copyCommand())
  .addCommand(doctorCommand())

program.hook('preAction', (_, command) => {
  if (command.name() !== 'serve') process.on('uncaughtException', endWithFault)
})

/** A fault of this program must not look like the end of a run or like a verdict. Its text may quote anything. */
function endWithFault(thrown: Error): void {
  fail(...(thrown.stack ?? thrown.message).split('\n'))
  process.exit(EXIT.notDone)
}

await program.parseAsync()
