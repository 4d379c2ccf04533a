import { join } from 'node:path'
import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { PublishedKeys } from '../../api/audit.ts'
import { readPublishedKeys } from '../../audit/proofs/keyring.ts'
import { endingWith } from '../connection.ts'
import { dataDirOf, keyringOf } from '../data-folder.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { DATA_DIR } from '../terminal/option-values.ts'
import { print, printJson, say } from '../terminal/print.ts'

const HELP = `
The server signs proofs, exports and checkpoints with the newest key, and publishes all keys at /api/keys.
The private part of the key is in the folder "keys" of the data folder. Keep the fingerprints where the
operator of the server cannot change them: "retrai verify --fingerprint" compares with them.
A running server uses a new key at once; you need not restart it.`

type Options = { readonly dataDir?: string; readonly json?: boolean }

/** `retrai key`: the keys with which a server signs. */
export function keyCommand(): Command {
  const list = new Command('list')
    .description('List the public keys, newest first.')
    .option(...DATA_DIR)
    .option('--json', 'print the answer of GET /api/keys')
    .action((options: Options) => endingWith(() => show(options, false)))
  const rotate = new Command('rotate')
    .description('Make a new key. The list keeps the old key, and its private part is deleted.')
    .option(...DATA_DIR)
    .option('--json', 'print the answer of GET /api/keys')
    .action((options: Options) => endingWith(() => show(options, true)))
  return new Command('key')
    .description('List or rotate the keys with which a server signs.')
    .addCommand(list)
    .addCommand(rotate)
    .addHelpText('after', HELP)
}

async function show({ dataDir, json }: Options, rotate: boolean): Promise<Result<number, string>> {
  const folder = dataDirOf(dataDir)
  if (folder.isErr()) return err(folder.error)
  const found = await readPublishedKeys(join(folder.value, 'keys'))
  if (found.isErr()) return err(found.error.message)
  if (found.value.keys.length === 0) return err(noKeyIn(folder.value))
  const keys = rotate ? await rotatedIn(folder.value) : ok(found.value)
  if (keys.isErr()) return err(keys.error)
  if (json === true) await printJson(keys.value)
  else {
    for (const line of linesOf(keys.value)) await print(line)
    say(`These are the keys of the data folder ${folder.value}.`)
  }
  return ok(EXIT.done)
}

async function rotatedIn(folder: string): Promise<Result<PublishedKeys, string>> {
  const keyring = await keyringOf(folder)
  if (keyring.isErr()) return err(keyring.error)
  const keys = await keyring.value.rotate()
  return keys.map(({ published }) => published).mapErr(({ message }) => message)
}

const noKeyIn = (folder: string): string =>
  `There is no key in ${folder}, so it is not the data folder of a server. Name that with --data-dir.`

function linesOf({ keys }: PublishedKeys): string[] {
  return keys.map(({ fingerprint, created, retired }) => {
    const until = retired === null ? 'in use' : `retired ${retired}`
    return `${fingerprint}  made ${created}  ${until}`
  })
}
