import { lstatSync } from 'node:fs'
import { resolve } from 'node:path'
import { Readable } from 'node:stream'
import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { VERIFYING } from '../api/audit.ts'
import { createOpener } from '../client/call.ts'
import { type Client, createClient, type RequestError, readBaseUrl } from '../client/index.ts'
import { CLIENT_LIMITS } from '../client/limits.ts'
import { chunksOf, textOf } from '../client/lines.ts'
import { shellWord } from '../lib/shell-word.ts'
import { defaultSocket } from '../server/data-folder.ts'
import { parseSettings } from '../server/read-settings.ts'
import { idOf, isBeginning } from './short-id.ts'
import { EXIT, PLAIN_EXIT_CODES } from './terminal/exit-codes.ts'
import { oneLine } from './terminal/plain-text.ts'
import { endWithReader, say } from './terminal/print.ts'

const DEFAULT_URL = 'http://127.0.0.1:8000'
const DEFAULT_SERVER = `the socket of your own server if there is one, otherwise ${DEFAULT_URL}`

const ENVIRONMENT = `
Environment:
  RETRAI_SERVER  the address of the server, http://… or unix:PATH; --server wins
  RETRAI_TOKEN   the secret of a token, if the server needs one
  NO_COLOR       if set, the output has no colours`

export type Connection = {
  readonly client: Client
  /** A command line that a person can paste. It names the same server, and its arguments are quoted. */
  hint(...args: readonly string[]): string
  /** What is wrong, and what to do. */
  explain(error: RequestError): string
}

export type ServerOptions = {
  readonly server?: string | undefined
  /** Downloads only to verify, for the access log. */
  readonly isVerifying?: boolean
}

/** A command that talks to a server, with the option and the help of all such commands. */
export function serverCommand(name: string, exitCodes: string = PLAIN_EXIT_CODES): Command {
  return new Command(name)
    .option(
      '--server <url>',
      `the server: http://…, https://… or unix:PATH (default: ${DEFAULT_SERVER})`,
    )
    .addHelpText('after', `${exitCodes}\n${ENVIRONMENT}`)
    .hook('preAction', (_, command) => completeRunId(command))
}

/** The argument `<run>` of a command may be the beginning of an id, as the lists show it. */
async function completeRunId(command: Command): Promise<void> {
  const { processedArgs, registeredArguments } = command
  const [given] = processedArgs
  const options: ServerOptions & { readonly dataDir?: string } = command.opts()
  if (registeredArguments[0]?.name() !== 'run' || !isBeginning(given)) return
  const connection = connect(options)
  if (connection.isErr() || options.dataDir !== undefined) return
  const { client, explain } = connection.value
  const found = await idOf(client, given, explain)
  if (found.isOk()) processedArgs[0] = found.value
  else {
    say(`retrai: ${oneLine(found.error)}`)
    process.exit(EXIT.notDone)
  }
}

/** Connects, does the work of a command, and sets its exit code; or prints why it failed. */
export async function whenConnected(
  options: ServerOptions,
  work: (connection: Connection) => Promise<Result<number, string>>,
): Promise<void> {
  const connection = connect(options)
  await endingWith(async () => {
    return connection.isErr() ? err(connection.error) : work(connection.value)
  })
}

/** Does the work of a command and sets the exit code that it returns; or prints why it failed. */
export async function endingWith(work: () => Promise<Result<number, string>>): Promise<void> {
  endWithReader()
  const done = await work()
  if (done.isErr()) say(`retrai: ${oneLine(done.error)}`)
  process.exitCode = done.unwrapOr(EXIT.notDone)
}

const ServerSettings = z.strictObject({
  RETRAI_SERVER: z
    .string()
    .refine(isServerUrl, `must be the address of a server, such as ${DEFAULT_URL} or unix:PATH`)
    .default(() => localSocket(process.env) ?? DEFAULT_URL),
  RETRAI_TOKEN: z.string().optional(),
})

function isServerUrl(text: string): boolean {
  if (socketPath(text) !== null) return true
  try {
    readBaseUrl(text)
    return true
  } catch {
    return false
  }
}

/** The address of the server, and the token for it. The error is a text for people. */
const serverAddress = ({ server }: ServerOptions): Result<ServerAddress, string> =>
  parseSettings(ServerSettings, server === undefined ? {} : { server }, process.env).map(
    ({ RETRAI_SERVER: address, RETRAI_TOKEN: token }) => {
      const path = socketPath(address)
      return path === null
        ? { address, url: address, token, transport: { fetch, WebSocket } }
        : { address, url: SOCKET_URL, token, transport: overSocket(path) }
    },
  )

type ServerAddress = {
  /** As people know it. */
  readonly address: string
  readonly url: string
  readonly token: string | undefined
  readonly transport: Transport
}

export function connect({ server }: ServerOptions): Result<Connection, string> {
  const flag = server === undefined ? [] : ['--server', server]
  return serverAddress({ server }).map(({ address, url, token, transport }) => ({
    client: createClient({ baseUrl: url, token, ...transport }),
    hint: (...args) => ['retrai', ...args, ...flag].map(quoted).join(' '),
    explain: (error) => explain(error).replaceAll(url, address),
  }))
}

/** Quoted for a shell: a server must not make a person paste a command of its own. */
const quoted = (arg: string): string => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : shellWord(arg))

/** What is wrong with a call, and what to do. */
function explain(error: RequestError): string {
  switch (error.type) {
    case 'unreachable':
      return `${error.message} Start one with "retrai serve", or name another one with --server or RETRAI_SERVER.`
    case 'refused':
      if (error.code === 'run_not_found') {
        return 'There is no such run. "retrai runs" lists the runs.'
      }
      if (error.code !== 'unauthenticated') return error.message
      return `${error.message} Set RETRAI_TOKEN to the secret of one of its tokens; "retrai token create" makes one.`
    case 'not_understood':
      return `${error.message} Is it the right address?`
    case 'aborted':
      return error.message
  }
}

/** Why a download failed. */
export type DownloadFailure = {
  /** The problem code; null if the answer has none, or if there is no answer. */
  readonly code: string | null
  readonly message: string
}

type Body = ReadableStream<Uint8Array<ArrayBuffer>>

/** Streams what the server has at an address. @param path begins with a slash */
export async function download(
  options: ServerOptions,
  path: string,
): Promise<Result<Readable, DownloadFailure>> {
  const body = await open(options, path)
  return body.map((opened) =>
    Readable.from(chunksOf(opened, CLIENT_LIMITS.silenceMs), { objectMode: false }),
  )
}

/** Reads a JSON document of the server. */
export async function downloadJson<T>(
  options: ServerOptions,
  path: string,
  schema: z.ZodType<T>,
): Promise<Result<T, DownloadFailure>> {
  const body = await open(options, path)
  if (body.isErr()) return err(body.error)
  try {
    const text = await textOf(body.value, CLIENT_LIMITS.answerBytes)
    if (text !== null) return ok(schema.parse(JSON.parse(text)))
    return err({ code: null, message: `The answer to ${path} is longer than this program reads.` })
  } catch (cause) {
    return err({
      code: null,
      message: `The answer to ${path} is not as expected: ${String(cause)}`,
    })
  }
}

async function open(options: ServerOptions, path: string): Promise<Result<Body, DownloadFailure>> {
  const address = serverAddress(options)
  if (address.isErr()) return err({ code: null, message: address.error })
  const { url, token, transport } = address.value
  const baseUrl = readBaseUrl(url)
  const { fetch } = transport
  const opened = await createOpener({ baseUrl, token, fetch, ...CLIENT_LIMITS })({
    path,
    accept: '*/*',
    headers: options.isVerifying === true ? { [VERIFYING.name]: VERIFYING.value } : {},
    signal: undefined,
  })
  return opened.mapErr((error) => ({
    code: error.type === 'refused' ? error.code : null,
    message: explain(error).replaceAll(url, address.value.address),
  }))
}

const PREFIX = 'unix:'
/** What the Host header says; the connection goes to the socket. */
const SOCKET_URL = 'http://localhost'

/** The path in `unix:PATH`; null if it is another address. */
const socketPath = (address: string): string | null =>
  address.startsWith(PREFIX) ? resolve(address.slice(PREFIX.length)) : null

/** The address of the server of this user on this machine, if it listens on a socket: RETRAI_LISTEN, or the default. */
function localSocket(env: Readonly<Record<string, string | undefined>>): string | null {
  const path = socketPath(env.RETRAI_LISTEN?.trim() ?? '') ?? defaultSocket(env)
  const found = lstatSync(path, { throwIfNoEntry: false })
  const isOurs = found?.isSocket() === true && found.uid === process.getuid?.()
  return isOurs ? `${PREFIX}${path}` : null
}

type Dispatcher = { readonly constructor: new (options: object) => object }
type Transport = {
  readonly fetch: typeof fetch
  readonly WebSocket: new (url: string, protocols: string[]) => WebSocket
}

/**
 * The fetch and the WebSocket of Node, through a unix socket. Node offers no public way to its HTTP client, but keeps its
 * dispatcher where the package undici finds it.
 */
function overSocket(path: string): Transport {
  // Node makes the dispatcher with the first use of this.
  void globalThis.WebSocket
  const shared = Reflect.get(globalThis, Symbol.for('undici.globalDispatcher.1')) as Dispatcher
  const dispatcher = new shared.constructor({ connect: { socketPath: path } })
  return {
    fetch: (input, init) => fetch(input, { ...init, dispatcher } as RequestInit),
    WebSocket: class extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, { protocols, dispatcher } as unknown as string[])
      }
    },
  }
}
