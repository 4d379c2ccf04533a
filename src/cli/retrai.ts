#!/usr/bin/env node
import { Command } from 'commander'
import { accessCommand } from './access.ts'
import { backupCommand } from './backup.ts'
import { copyCommand } from './copy.ts'
import { abortCommand, approveCommand } from './decide.ts'
import { EXIT } from './exit-codes.ts'
import { exportCommand } from './export.ts'
import { goalsCommand } from './goals.ts'
import { importCommand } from './import.ts'
import { keyCommand } from './key.ts'
import { fail } from './print.ts'
import { redactCommand } from './redact.ts'
import { replayCommand } from './replay.ts'
import { runCommand } from './run.ts'
import { runsCommand } from './runs.ts'
import { serveCommand } from './serve.ts'
import { showCommand } from './show.ts'
import { tokenCommand } from './token.ts'
import { verifyCommand } from './verify.ts'
import { watchCommand } from './watch.ts'

const program = new Command('retrai')
  .description(
    'Runs coding agents towards a checkable goal, and keeps a record that can be trusted.',
  )
  .version('0.1.0')
  .addCommand(serveCommand())
  .addCommand(runCommand())
  .addCommand(watchCommand())
  .addCommand(runsCommand())
  .addCommand(showCommand())
  .addCommand(approveCommand())
  .addCommand(abortCommand())
  .addCommand(redactCommand())
  .addCommand(goalsCommand())
  .addCommand(replayCommand())
  .addCommand(exportCommand())
  .addCommand(verifyCommand())
  .addCommand(importCommand())
  .addCommand(accessCommand())
  .addCommand(keyCommand())
  .addCommand(tokenCommand())
  .addCommand(backupCommand())
  .addCommand(copyCommand())

program.hook('preAction', (_, command) => {
  if (command.name() !== 'serve') process.on('uncaughtException', endWithFault)
})

/** A fault of this program must not look like the end of a run, or like a verdict; and it may quote anything. */
function endWithFault(thrown: Error): void {
  fail(...(thrown.stack ?? thrown.message).split('\n'))
  process.exit(EXIT.notDone)
}

await program.parseAsync()
