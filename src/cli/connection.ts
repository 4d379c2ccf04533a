import { lstatSync } from 'node:fs'
import { resolve } from 'node:path'
import { Readable } from 'node:stream'
import { Command } from 'commander'
import { err, Result, type ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { VERIFYING } from '../api/audit.ts'
import { CLIENT_LIMITS, createRest, type Rest } from '../client/call.ts'
import { type Client, createClient, readBaseUrl } from '../client/client.ts'
import type { RequestError, RunQuery, RunSummary } from '../client/index.ts'
import { chunksOf } from '../client/lines.ts'
import { shellWord } from '../lib/text.ts'
import { defaultSocket } from '../server/data-folder.ts'
import { parseSettings } from '../server/read-settings.ts'
import { io } from './terminal/io.ts'
import { asTyped } from './terminal/print.ts'
import { type Calls, endingWith, PLAIN_EXIT_CODES, type Steps } from './terminal/steps.ts'

const DEFAULT_URL = 'http://127.0.0.1:8000'
const DEFAULT_SERVER = `the socket of your own server if there is one, otherwise ${DEFAULT_URL}`

const ENVIRONMENT = `
Environment:
  RETRAI_SERVER  the address of the server, http://… or unix:PATH; --server wins
  RETRAI_TOKEN   the secret of a token, if the server needs one
  NO_COLOR       if set, the output has no colours`

export type Connection = {
  readonly client: Client
  /** For what the client has no call. */
  readonly rest: Pick<Rest, 'get' | 'open'>
  /** A command line that a person can paste. It names the same server, and its arguments are quoted. */
  hint(...args: readonly string[]): string
  /** What is wrong, and what to do. A text says that already. */
  explain(error: string | RequestError): string
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
}

/** The action of a command that talks to a server. `work` gets its arguments, the last of which are its options. */
export const connected =
  <G extends readonly unknown[]>(work: (connection: Connection, ...given: G) => Calls) =>
  (...given: readonly unknown[]): Promise<void> =>
    endingWith(async function* () {
      const command = given.at(-1) as Command
      const options = command.opts()
      const connection = yield* connect(options)
      const calls = async function* (): Calls {
        const [first, ...others] = given.slice(0, -1)
        const isRun = command.registeredArguments[0]?.name() === 'run'
        const id = isRun && typeof first === 'string' ? yield* runIdOf(connection, first) : first
        const { run } = options
        if (typeof run === 'string') options.run = yield* runIdOf(connection, run)
        return yield* work(connection, ...([id, ...others] as unknown as G))
      }
      return yield* explained(calls(), connection)
    })

/** The same steps, in which a call that has failed is explained. */
async function* explained(calls: Calls, { explain }: Connection): Steps {
  const { done, value } = await calls.next()
  if (done === true) return value
  await calls.return(undefined)
  return yield* err(explain(value.error))
}

/** The beginning of an id. */
const BEGINNING = /^[0-9a-f]{4}[0-9a-f-]{0,31}$/i
/** The run that a person has started last. */
const LAST = 'last'
/** How many runs are named that a beginning could mean. */
const NAMED = 5

/** The id that is given, that begins with what is given, or of the run that no agent has started last. */
async function* runIdOf({ client }: Connection, given: string): Calls<string> {
  if (given === LAST) {
    const [newest] = (yield* client.runs.list({ top: true, limit: 1 })).runs
    return newest?.run_id ?? (yield* err('There are no runs yet.'))
  }
  if (!BEGINNING.test(given)) return given
  const { runs } = yield* client.runs.list({ q: given })
  const found = runs.filter(({ run_id }) => run_id.startsWith(given.toLowerCase()))
  const [only] = found
  if (only === undefined) {
    const none = `No run has an id that begins with ${given}. "retrai runs" lists the runs.`
    const isNone = (why: RequestError) => why.type === 'refused' && why.code === 'run_not_found'
    return (yield* client.runs.get(given).mapErr((why) => (isNone(why) ? none : why))).run_id
  }
  if (found.length === 1) return only.run_id
  const names = found.slice(0, NAMED).map(({ run_id, title }) => `${run_id} (${title ?? ''})`)
  return yield* err(
    `${found.length} runs have an id that begins with ${given}: ${names.join(', ')}`,
  )
}

/** The longest page of a server. */
const PAGE = 1000

/** The runs of a server in their order: at most this many, and whether there are more. */
export async function* newestRuns(
  { client }: Connection,
  query: Omit<RunQuery, 'limit' | 'cursor'> = {},
  most = Number.POSITIVE_INFINITY,
): Calls<{ readonly runs: readonly RunSummary[]; readonly hasMore: boolean }> {
  const found = new Map<string, RunSummary>()
  let cursor: string | null | undefined
  while (cursor !== null && found.size < most) {
    const before = found.size
    const limit = Math.min(PAGE, most - before)
    const page = yield* client.runs.list({ ...query, limit, cursor })
    for (const run of page.runs) found.set(run.run_id, run)
    cursor = page.next
    if (cursor !== null && found.size === before) {
      return yield* err('The server lists the same runs again and again.')
    }
  }
  return { runs: [...found.values()], hasMore: cursor !== null }
}

const ServerSettings = z.strictObject({
  RETRAI_SERVER: z
    .string()
    .refine(isServerUrl, `must be the address of a server, such as ${DEFAULT_URL} or unix:PATH`)
    .default(() => localSocket(io().env) ?? DEFAULT_URL),
  RETRAI_TOKEN: z.string().optional(),
})

function isServerUrl(text: string): boolean {
  return socketPath(text) !== null || Result.fromThrowable(readBaseUrl)(text).isOk()
}

export function connect({
  server,
  isVerifying = false,
}: ServerOptions): Result<Connection, string> {
  const flag = server === undefined ? [] : ['--server', server]
  const flags = server === undefined ? {} : { server }
  return parseSettings(ServerSettings, flags, io().env).map((settings) => {
    const { RETRAI_SERVER: address, RETRAI_TOKEN: token } = settings
    const path = socketPath(address)
    const url = path === null ? address : SOCKET_URL
    const transport = path === null ? { fetch, WebSocket } : overSocket(path)
    const headers = isVerifying ? { [VERIFYING.name]: VERIFYING.value } : {}
    return {
      client: createClient({ baseUrl: url, token, ...transport }),
      rest: createRest({
        baseUrl: readBaseUrl(url),
        token,
        fetch: transport.fetch,
        headers,
        ...CLIENT_LIMITS,
      }),
      hint: (...args) => asTyped(['retrai', ...args, ...flag].map(quoted).join(' ')),
      explain: (error) =>
        typeof error === 'string' ? error : explain(error).replaceAll(url, address),
    }
  })
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

/** Streams what the server has at an address. @param path begins with a slash */
export const download = ({ rest }: Connection, path: string): ResultAsync<Readable, RequestError> =>
  rest
    .open(path, '*/*')
    .map((body) => Readable.from(chunksOf(body, CLIENT_LIMITS.silenceMs), { objectMode: false }))

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
