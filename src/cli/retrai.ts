#!/usr/bin/env node
import { Command } from 'commander'
import { backupCommand } from './backup.ts'
import { copyCommand } from './copy.ts'
import { serveCommand } from './serve.ts'

const program = new Command('retrai')
  .description(
    'Runs coding agents towards a checkable goal, and keeps a record that can be trusted.',
  )
  .version('0.1.0')
  .addCommand(serveCommand())
  .addCommand(backupCommand())
  .addCommand(copyCommand())

await program.parseAsync()
