import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { Command } from 'commander'
import { err, Result, ResultAsync } from 'neverthrow'
import { openKeyring } from '../../checkpoints/keyring.ts'
import { knownKeys } from '../../checkpoints/public-keys.ts'
import { originsIn, readSeen, Witness } from '../../checkpoints/witness/witness.ts'
import { oneLine } from '../../domain/plain-text.ts'
import { messageOf } from '../../lib/message-of.ts'
import { checkNote, noteKey } from '../../lib/note-check.ts'
import { noteOf, readNoteKey } from '../../lib/signed-note.ts'
import { makeDataFolder } from '../../server/data-folder.ts'
import { listenAddress } from '../../server/settings.ts'
import { io } from '../terminal/io.ts'
import { repeated } from '../terminal/option-values.ts'
import { print, say } from '../terminal/print.ts'
import { offline, PLAIN_EXIT_CODES, type Steps } from '../terminal/steps.ts'

const HELP = `
A witness sees the checkpoints of other servers, and signs each that continues
what it has seen before (C2SP tlog-witness). Run it where the operators of these
servers cannot change anything. Give its key to them (RETRAI_WITNESSES) and to
those who verify (retrai verify --witness). The key of a server is the answer of
GET /api/log/key; name both keys after a rotation. The folder holds the key of the
witness and, for each log, the newest checkpoint that it has signed: never put it
back to an older state.
${PLAIN_EXIT_CODES}`

const DATA_DIR = ['--data-dir <folder>', 'the folder of the witness'] as const
type Folder = { readonly dataDir?: string }
type Options = Folder & { readonly listen?: string; readonly log?: readonly string[] }

/** `retrai witness`: sees that servers do not rewrite their logs. */
export const witnessCommand = (): Command =>
  new Command('witness')
    .description('Sign the checkpoints of other servers, if they continue what was seen before.')
    .option('--listen <address>', 'HOST:PORT, or unix:PATH')
    .option(...DATA_DIR)
    .option('--log <key>', 'the key of a log to sign; may be repeated', repeated)
    .addHelpText('after', HELP)
    .action(offline(serve))
    .addCommand(subcommand('key', 'Print the key of the witness.', printKey))
    .addCommand(subcommand('show', 'Print what the witness has signed last of each log.', show))

const subcommand = (name: string, description: string, work: (folder: Folder) => Steps): Command =>
  new Command(name)
    .description(description)
    .option(...DATA_DIR)
    // The command above it has the same option, and takes it.
    .action(offline((_: Folder, command: Command) => work(command.optsWithGlobals())))

/** The folder of a witness and its key, which is made at the first use. */
async function* openWitness({ dataDir: dir }: Folder) {
  if (dir === undefined) return yield* err('Name the folder of the witness with --data-dir.')
  yield* await makeDataFolder(dir)
  const opened = openKeyring(join(dir, 'keys'), () => new Date())
  const loaded = await opened.andThen((keyring) => keyring.load())
  const { signer, published } = yield* loaded.mapErr(({ message }) => message)
  const key = knownKeys(published).get(signer.key)
  if (key === undefined) return yield* err(`The folder ${dir} does not list its key.`)
  const name = `retrai-witness/${signer.key.slice(0, 16)}`
  return { dir, key: noteKey(name, 'cosignature', key), sign: signer.sign }
}

async function* printKey(folder: Folder): Steps {
  const { key } = yield* openWitness(folder)
  await print(key.line)
}

async function* show(folder: Folder): Steps {
  const { dataDir } = folder
  if (dataDir !== undefined && !existsSync(dataDir)) {
    return yield* err(`There is no folder ${dataDir}.`)
  }
  const { dir, key } = yield* openWitness(folder)
  const hashes = originsIn(await readdir(dir))
  if (hashes.length === 0) say('The witness has signed nothing yet.')
  for (const hash of hashes) {
    const seen = yield* await ResultAsync.fromPromise(readSeen(dir, hash), messageOf)
    if (seen === null) continue
    const { origin, size, root } = seen.head
    const checked = checkNote(seen.note, key)
    const at = checked.type === 'good' ? new Date(checked.at).toISOString() : 'with another key'
    await print(oneLine(`${origin} size ${size} root ${root.toString('base64')} ${at}`))
  }
}

async function* serve({ listen = '', log: lines = [], ...folder }: Options): Steps {
  const address = listenAddress.safeParse(listen)
  if (!address.success) return yield* err('--listen must be HOST:PORT, such as 127.0.0.1:8001.')
  if (lines.length === 0) return yield* err('Name the key of a log with --log.')
  const keys = Result.combine(lines.map((line) => readNoteKey(line, 'ed25519')))
  const logs = yield* keys.mapErr((why) => `--log must be the key of a log: ${why}.`)
  const { dir, key, sign } = yield* openWitness(folder)
  const witness = new Witness({ dir, key, sign, logs, clock: () => new Date() })
  const server = createServer(async (request, response) => {
    const { status, body, type = 'text/plain; charset=utf-8' } = await answer(request, witness, dir)
    response.writeHead(status, { 'content-type': type }).end(body)
  })
  const { data } = address
  server.listen('socket' in data ? { path: data.socket } : data)
  const listening = ResultAsync.fromPromise(once(server, 'listening'), messageOf)
  yield* await listening.mapErr((why) => `The witness cannot listen there: ${why}.`)
  const bound = server.address()
  const port = typeof bound === 'object' ? bound?.port : undefined
  say(
    `The witness listens on ${port ? `http://${listen.replace(/\d+$/, String(port))}` : listen}. Its key:`,
  )
  await print(key.line)
  const { promise: stopped, resolve: stop } = Promise.withResolvers<unknown>()
  for (const signal of ['SIGINT', 'SIGTERM']) io().once(signal, stop)
  await stopped
  server.close()
  server.closeAllConnections()
}

type Answer = { readonly status: number; readonly body: string; readonly type?: string }

/** Larger than any request with a proof, and with as many signatures as a note can have. */
const MAX_REQUEST_BYTES = 512 * 1024

/** Never rejects. */
async function answer(request: IncomingMessage, witness: Witness, dir: string): Promise<Answer> {
  try {
    const { method, url = '' } = request
    const [, hash] = /^\/([0-9a-f]{64})\/checkpoint$/.exec(url) ?? []
    const seen = method === 'GET' && hash !== undefined ? await readSeen(dir, hash) : null
    if (seen !== null) return { status: 200, body: noteOf(seen.note) }
    if (method !== 'POST' || url !== '/add-checkpoint') return { status: 404, body: 'Not found\n' }
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of request) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > MAX_REQUEST_BYTES) return { status: 400, body: 'The request is too large.\n' }
    }
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const text = Result.fromThrowable(() => decoder.decode(Buffer.concat(chunks)))()
    // No request is empty.
    return await witness.addCheckpoint(text.unwrapOr(''))
  } catch (cause) {
    say(`retrai: ${oneLine(messageOf(cause))}`)
    return { status: 500, body: 'The witness cannot read or write its files.\n' }
  }
}
