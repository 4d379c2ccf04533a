import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { Command } from 'commander'
import { err, Result } from 'neverthrow'
import { openKeyring } from '../../audit/keyring.ts'
import { knownKeys } from '../../audit/public-keys.ts'
import {
  readCosigned,
  Witness,
  type WitnessAnswer,
  witnessed,
} from '../../audit/witness/witness.ts'
import { messageOf } from '../../lib/message-of.ts'
import { noteKey, readNoteKey } from '../../lib/signed-note.ts'
import { makeDataFolder } from '../../server/data-folder.ts'
import { listenAddress } from '../../server/settings.ts'
import { io } from '../terminal/io.ts'
import { repeated } from '../terminal/option-values.ts'
import { oneLine } from '../terminal/plain-text.ts'
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

type Folder = { readonly dataDir?: string }
type Options = Folder & { readonly listen?: string; readonly log?: readonly string[] }

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
  const opened = await openKeyring(join(dir, 'keys'), () => new Date())
  const keyring = yield* opened.mapErr(({ message }) => message)
  const { signer, published } = yield* (await keyring.load()).mapErr(({ message }) => message)
  const key = knownKeys(published).get(signer.key)
  if (key === undefined) return yield* err(`${dir} lists no such key as ${signer.key}.`)
  const name = `retrai-witness/${signer.key.slice(0, 16)}`
  return { dir, key: noteKey(name, 'cosignature', key), sign: signer.sign }
}

async function* printKey(options: Folder): Steps {
  const { key } = yield* openWitness(options)
  await print(key.line)
}

async function* show(options: Folder): Steps {
  const { dir, key } = yield* openWitness(options)
  try {
    for await (const { head, at } of witnessed(dir, await readdir(dir), key)) {
      const when = at?.toISOString() ?? 'with another key'
      await print(
        oneLine(`${head.origin}  size ${head.size}  root ${head.root.toString('base64')}  ${when}`),
      )
    }
  } catch (cause) {
    yield* err(messageOf(cause))
  }
}

async function* serve({ listen, log: lines = [], ...folder }: Options): Steps {
  const address = listenAddress.safeParse(listen ?? '')
  if (!address.success) return yield* err('--listen must be HOST:PORT, such as 127.0.0.1:8001.')
  if (lines.length === 0) return yield* err('Name the key of a log with --log.')
  const keys = Result.combine(lines.map((line) => readNoteKey(line, 'ed25519')))
  const logs = yield* keys.mapErr((why) => `--log must be the key of a log: ${why}.`)
  const { dir, key, sign } = yield* openWitness(folder)
  const witness = new Witness({ dir, key, sign, logs, clock: () => new Date() })
  const server = createServer((request, response) => {
    void answer(request, witness, dir).then((found) => send(response, found))
  })
  const { data } = address
  server.listen('socket' in data ? { path: data.socket } : data)
  const failed = await once(server, 'listening').then(() => null, messageOf)
  if (failed !== null) return yield* err(`The witness cannot listen there: ${failed}.`)
  const bound = server.address()
  const at =
    bound !== null && typeof bound === 'object'
      ? `http://${listen?.replace(/:\d+$/, '')}:${bound.port}`
      : String(bound)
  say(`The witness listens on ${at}. Its key:`)
  await print(key.line)
  const { promise: stopped, resolve: stop } = Promise.withResolvers<unknown>()
  for (const signal of ['SIGINT', 'SIGTERM']) io().once(signal, stop)
  await stopped
  server.close()
  server.closeAllConnections()
}

type Answer = Pick<WitnessAnswer, 'body' | 'type'> & { readonly status: number }
const plain = (status: number, body: string): Answer => ({
  status,
  body: `${body}\n`,
  type: 'text/plain; charset=utf-8',
})

/** Larger than any request with a proof, and with as many signatures as a note can have. */
const MAX_REQUEST_BYTES = 512 * 1024
const CHECKPOINT = /^\/([0-9a-f]{64})\/checkpoint$/

async function answer(request: IncomingMessage, witness: Witness, dir: string): Promise<Answer> {
  try {
    const { method, url = '' } = request
    const [, originHash] = CHECKPOINT.exec(url) ?? []
    if (method === 'GET' && originHash !== undefined) {
      const note = await readCosigned(dir, originHash)
      return note === null
        ? plain(404, 'Nothing was signed of this log.')
        : plain(200, note.trimEnd())
    }
    if (method !== 'POST' || url !== '/add-checkpoint') return plain(404, 'There is nothing here.')
    const text = await bodyOf(request)
    return text === null
      ? plain(400, 'The request is too large, or not UTF-8.')
      : await witness.addCheckpoint(text)
  } catch (cause) {
    say(`retrai: ${oneLine(messageOf(cause))}`)
    return plain(500, 'The witness cannot read or write its files.')
  }
}

/** Null if it is too large, or no text. */
async function bodyOf(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes > MAX_REQUEST_BYTES) return null
    chunks.push(chunk)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
  } catch {
    return null
  }
}

function send(response: ServerResponse, { status, body, type }: Answer): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}
