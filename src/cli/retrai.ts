#!/usr/bin/env node
import { runCommandLine } from './command-line.ts'
import { fail } from './terminal/print.ts'
import { EXIT } from './terminal/steps.ts'

const args = process.argv.slice(2)
if (args[0] !== 'serve') process.on('uncaughtException', endWithFault)

/** A fault of this program must not look like the end of a run or like a verdict. Its text may quote anything. */
function endWithFault(thrown: Error): never {
  fail(...(thrown.stack ?? thrown.message).split('\n'))
  process.exit(EXIT.notDone)
}

process.exitCode = await runCommandLine(args, process)
// What still waits for something has nobody to print for.
if (process.stdout.errored !== null) process.exit()
