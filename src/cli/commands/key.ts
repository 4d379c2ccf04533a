import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Keys } from '../../audit/proofs/keyring.ts'
import { dataDirOf, keyringOf } from '../data-folder.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { print, printJson, say } from '../terminal/print.ts'

const HELP = `
The server signs proofs, exports and checkpoints with the newest key, and publishes all of them at
/api/keys. Its private part is in the folder "keys" of the data folder. Keep the fingerprints where the
server's operator cannot change them: they are what "retrai verify --fingerprint" compares with.
A running server uses a new key at once; it need not be restarted.`

type Options = { readonly dataDir?: string; readonly json?: boolean }

/** `retrai key`: the keys that a server signs with. */
export function keyCommand(): Command {
  const list = new Command('list')
    .description('List the public keys, newest first; makes the first one where there is none.')
    .option('--data-dir <folder>', 'the data folder (default: as for serve)')
    .option('--json', 'print what GET /api/keys answers')
    .action((options: Options) => end(show(options, false)))
  const rotate = new Command('rotate')
    .description('Make a new key. The old one stays listed, and its private part is removed.')
    .option('--data-dir <folder>', 'the data folder (default: as for serve)')
    .option('--json', 'print what GET /api/keys answers')
    .action((options: Options) => end(show(options, true)))
  return new Command('key')
    .description('List or rotate the keys that a server signs with.')
    .addCommand(list)
    .addCommand(rotate)
    .addHelpText('after', HELP)
}

async function end(work: Promise<Result<void, string>>): Promise<void> {
  const done = await work
  if (done.isErr()) say(`retrai: ${done.error}`)
  process.exitCode = done.isOk() ? EXIT.done : EXIT.notDone
}

async function show({ dataDir, json }: Options, rotate: boolean): Promise<Result<void, string>> {
  const folder = dataDirOf(dataDir)
  if (folder.isErr()) return err(folder.error)
  const keyring = await keyringOf(folder.value)
  if (keyring.isErr()) return err(keyring.error)
  const keys = await (rotate ? keyring.value.rotate() : keyring.value.load())
  if (keys.isErr()) return err(keys.error.message)
  if (json === true) await printJson(keys.value.published)
  else for (const line of linesOf(keys.value)) await print(line)
  return ok()
}

function linesOf({ published }: Keys): string[] {
  return published.keys.map(({ fingerprint, created, retired }) => {
    const until = retired === null ? 'in use' : `retired ${retired}`
    return `${fingerprint}  made ${created}  ${until}`
  })
}
