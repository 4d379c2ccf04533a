import { Readable } from 'node:stream'
import { Command, type CommanderError } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { createOpener } from '../client/call.ts'
import { type Client, createClient, type RequestError, readBaseUrl } from '../client/index.ts'
import { CLIENT_LIMITS } from '../client/limits.ts'
import { chunksOf, textOf } from '../client/lines.ts'
import { parseSettings } from '../server/settings.ts'
import { EXIT, PLAIN_EXIT_CODES } from './terminal/exit-codes.ts'
import { oneLine } from './terminal/plain-text.ts'
import { endWithReader, say } from './terminal/print.ts'

const DEFAULT_URL = 'http://127.0.0.1:8000'

const ENVIRONMENT = `
Environment:
  RETRAI_SERVER  the address of the server (default ${DEFAULT_URL}); --server wins
  RETRAI_TOKEN   the secret of a token, if the server asks for one
  NO_COLOR       when set, nothing is coloured`

/** The server that a command talks to. */
export type Server = {
  readonly client: Client
  /** A command line for a person that talks to the same server; what is not plain in it is quoted. */
  hint(...args: readonly string[]): string
  /** Says what is wrong and what to do. */
  explain(error: RequestError): string
}

export type ServerOptions = { readonly server?: string | undefined }

/** A command that talks to a server: its options, help and exit codes that all of them share. */
export function serverCommand(name: string, exitCodes: string = PLAIN_EXIT_CODES): Command {
  return new Command(name)
    .option('--server <url>', `the server (default ${DEFAULT_URL})`)
    .addHelpText('after', `${exitCodes}\n${ENVIRONMENT}`)
    .exitOverride(({ exitCode }: CommanderError) => {
      process.exit(exitCode === 0 ? EXIT.done : EXIT.notDone)
    })
}

/** Does the work of a command and ends with its exit code, or tells why it could not be done. */
export async function withServer(
  options: ServerOptions,
  work: (server: Server) => Promise<Result<number, string>>,
): Promise<void> {
  const server = connect(options)
  await endingWith(async () => (server.isErr() ? err(server.error) : work(server.value)))
}

/** Ends with the exit code that `work` gives, or tells why it could not be done. */
export async function endingWith(work: () => Promise<Result<number, string>>): Promise<void> {
  endWithReader()
  const done = await work()
  if (done.isErr()) say(`retrai: ${oneLine(done.error)}`)
  process.exitCode = done.unwrapOr(EXIT.notDone)
}

const ServerSettings = z.strictObject({
  RETRAI_SERVER: z
    .string()
    .refine(isServerUrl, `must be the address of a server, such as ${DEFAULT_URL}`)
    .default(DEFAULT_URL),
  RETRAI_TOKEN: z.string().optional(),
})

function isServerUrl(text: string): boolean {
  try {
    readBaseUrl(text)
    return true
  } catch {
    return false
  }
}

/** The address of the server, and the token to send. The error is a text for people. */
const serverAddress = ({
  server,
}: ServerOptions): Result<{ readonly url: string; readonly token: string | undefined }, string> =>
  parseSettings(ServerSettings, server === undefined ? {} : { server }, process.env).map(
    ({ RETRAI_SERVER: url, RETRAI_TOKEN: token }) => ({ url, token }),
  )

export function connect({ server }: ServerOptions): Result<Server, string> {
  const flag = server === undefined ? [] : ['--server', server]
  return serverAddress({ server }).map(({ url, token }) => ({
    client: createClient({ baseUrl: url, token }),
    hint: (...args) => ['retrai', ...args, ...flag].map(quoted).join(' '),
    explain,
  }))
}

/** As a shell takes it: a server must not have a person paste a command of its own. */
const quoted = (arg: string): string =>
  /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`

/** Says what is wrong with a call, and what to do. */
function explain(error: RequestError): string {
  switch (error.type) {
    case 'unreachable':
      return `${error.message} Start one with "retrai serve", or name another with --server or RETRAI_SERVER.`
    case 'refused':
      if (error.code === 'run_not_found') {
        return 'There is no such run. "retrai runs" lists those there are.'
      }
      if (error.code !== 'unauthenticated') return error.message
      return `${error.message} Set RETRAI_TOKEN to the secret of one of its tokens; "retrai token create" makes them.`
    case 'not_understood':
      return `${error.message} Is it the right address?`
    case 'aborted':
      return error.message
  }
}

/** Why a file of a server could not be had. */
export type DownloadFailure = {
  /** The end of the problem's type; null where no server answered as one. */
  readonly code: string | null
  readonly message: string
}

type Body = ReadableStream<Uint8Array<ArrayBuffer>>

/** What a server sends at an address, as it comes. @param path begins with a slash */
export async function download(
  options: ServerOptions,
  path: string,
): Promise<Result<Readable, DownloadFailure>> {
  const body = await open(options, path)
  return body.map((opened) =>
    Readable.from(chunksOf(opened, CLIENT_LIMITS.silenceMs), { objectMode: false }),
  )
}

/** A JSON document of a server. */
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
    return err({ code: null, message: `${path} is answered with more than is read of an answer.` })
  } catch (cause) {
    return err({ code: null, message: `${path} is not what was expected: ${String(cause)}` })
  }
}

async function open(options: ServerOptions, path: string): Promise<Result<Body, DownloadFailure>> {
  const address = serverAddress(options)
  if (address.isErr()) return err({ code: null, message: address.error })
  const { url, token } = address.value
  const opened = await createOpener({ baseUrl: readBaseUrl(url), token, fetch, ...CLIENT_LIMITS })({
    path,
    accept: '*/*',
    signal: undefined,
  })
  return opened.mapErr((error) => ({
    code: error.type === 'refused' ? error.code : null,
    message: explain(error),
  }))
}
