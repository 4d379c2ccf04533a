import { join } from 'node:path'
import { Command } from 'commander'
import { dataDirOf } from '../data-folder.ts'
import { fail, print } from '../terminal/print.ts'

const HELP = `
The copy is of one moment, checked, and a log of its own. To restore, put it as log.sqlite into an empty
data folder, with a copy of the folder "artifacts" beside it, and start the server on that folder.
A log in an EventStoreDB is backed up with the means of EventStoreDB.`

/** `retrai backup FILE`: copies the embedded log while a server may be using it. */
export function backupCommand(): Command {
  return new Command('backup')
    .description('Copy the log of a data folder to a file, also while a server uses it.')
    .argument('<file>', 'file to write')
    .option('--data-dir <folder>', 'the data folder (default: as for serve)')
    .option('--force', 'replace the file if it exists')
    .addHelpText('after', HELP)
    .action(run)
}

async function run(
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
