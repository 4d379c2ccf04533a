import { join } from 'node:path'
import { Command } from 'commander'
import { dataDirOf } from '../data-folder.ts'
import { fail, print } from '../terminal/print.ts'

const HELP = `
The backup shows the log at one moment, is checked, and is a log of its own. To restore it, put it as
log.sqlite into an empty data folder, with a copy of the folder "artifacts" beside it, and start the server
on that folder. Back up an EventStoreDB with the tools of EventStoreDB.`

/** `retrai backup FILE`: copies the embedded log, even while a server uses it. */
export function backupCommand(): Command {
  return new Command('backup')
    .description('Copy the log of a data folder to a file, even while a server uses it.')
    .argument('<file>', 'file to write')
    .option('--data-dir <folder>', 'the data folder (default: as for serve)')
    .option('--force', 'replace the file if it exists')
    .addHelpText('after', HELP)
    .action(backup)
}

async function backup(
  target: string,
  { force, dataDir }: { readonly force?: boolean; readonly dataDir?: string },
): Promise<void> {
  const folder = dataDirOf(dataDir)
  if (folder.isErr()) return fail(...folder.error.split('\n'))
  const { backupLog } = await import('../../store/embedded/backup.ts')
  const source = join(folder.value, 'log.sqlite')
  const made = await backupLog({ source, target, overwrite: force === true })
  if (made.isErr()) return fail(made.error.message)
  const { streams, events, head } = made.value
  await print(
    `${target} holds ${events} events in ${streams} streams, up to position ${head}; checked.`,
  )
}
