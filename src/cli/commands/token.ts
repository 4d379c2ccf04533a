import { Command, InvalidArgumentError, Option } from 'commander'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { NewTokenView, TokenView } from '../../api/auth.ts'
import { TokenName } from '../../api/auth-requests.ts'
import { CATALOGUE } from '../../api/problems.ts'
import { ROLES, type Role } from '../../api/roles.ts'
import { Auth, type TokenFailure, type WantedToken } from '../../auth/auth.ts'
import { tokenView } from '../../auth/token-ledger.ts'
import { tokenProblem } from '../../http/problems/problem-of.ts'
import { readStorePlace } from '../../server/read-settings.ts'
import {
  type Connection,
  endingWith,
  type ServerOptions,
  serverCommand,
  whenConnected,
} from '../connection.ts'
import { openStore, signingOf } from '../data-folder.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { duration } from '../terminal/option-values.ts'
import type { Line } from '../terminal/plain-text.ts'
import { print, printJson, say, table } from '../terminal/print.ts'

const HELP = `
Make and revoke tokens through a running server: it needs the token of an admin after the first one is made.
Or, while no server uses the log, in the log itself (--data-dir, --store). The first token must have the
role admin. docs/operations.md says what each role may do.`

type Options = ServerOptions & {
  readonly dataDir?: string
  readonly store?: string
  readonly json?: boolean
}
type Work = (book: TokenBook) => Promise<Result<void, string>>

/** `retrai token`: the tokens of a server. */
export function tokenCommand(): Command {
  return new Command('token')
    .description('Make, list and revoke the tokens of a server.')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand())
    .addHelpText('after', HELP)
}

function subcommand(name: string): Command {
  return serverCommand(name)
    .option('--data-dir <folder>', 'the data folder of a stopped server')
    .option('--store <url>', 'esdb://… of an EventStoreDB')
    .option('--json', 'print the answer of the API')
}

function createCommand(): Command {
  return subcommand('create')
    .description('Make a token, and print its secret. It cannot be printed again.')
    .argument('<name>', 'the principal in the records that the token makes', tokenName)
    .addOption(
      new Option('--role <role>', 'what it may do').choices(ROLES).makeOptionMandatory(true),
    )
    .option(
      '--expires-in <time>',
      'a time such as 12h or 30d (default: it does not expire)',
      duration,
    )
    .action(
      (name: string, options: Options & { readonly role: Role; readonly expiresIn?: number }) =>
        withBook(options, async (book) => {
          const { role, expiresIn = null } = options
          const created = await book.create({ name, role, expiresIn })
          if (created.isErr()) return err(created.error)
          const { secret, expires_at } = created.value
          const until = expires_at === null ? 'does not expire' : `expires ${expires_at}`
          say(
            `The token "${name}" has the role ${role} and ${until}. Its secret is shown only now:`,
          )
          await (options.json ? printJson(created.value) : print(secret))
          return ok()
        }),
    )
}

function listCommand(): Command {
  return subcommand('list')
    .description('List all tokens, newest first, revoked ones too.')
    .action((options: Options) =>
      withBook(options, async (book) => {
        const tokens = await book.list()
        if (tokens.isErr()) return err(tokens.error)
        if (tokens.value.length === 0 && !options.json) say('There are no tokens yet.')
        else if (options.json) for (const token of tokens.value) await printJson(token)
        else for (const line of linesOf(tokens.value)) await print(line)
        return ok()
      }),
    )
}

function revokeCommand(): Command {
  return subcommand('revoke')
    .description('Revoke a token. The server refuses it from now on, and closes its connections.')
    .argument('<name>')
    .option('--reason <text>', 'kept in the log')
    .action((name: string, options: Options & { readonly reason?: string }) =>
      withBook(options, async (book) => {
        const tokens = await book.list()
        if (tokens.isErr()) return err(tokens.error)
        const token = tokens.value.find((each) => each.name === name)
        if (token === undefined) return err(`There is no token "${name}".`)
        const revoked = await book.revoke(token.id, options.reason)
        if (revoked.isErr()) return err(revoked.error)
        await (options.json ? printJson(revoked.value) : print(`${name} revoked`))
        return ok()
      }),
    )
}

function withBook(options: Options, work: Work): Promise<void> {
  const { dataDir, store } = options
  const place = { ...(dataDir !== undefined && { dataDir }), ...(store !== undefined && { store }) }
  if (Object.keys(place).length === 0) {
    return whenConnected(options, async (connection) => done(await work(bookOfServer(connection))))
  }
  return endingWith(async () => done(await withBookOfStore(place, work)))
}

const done = (worked: Result<void, string>): Result<number, string> => worked.map(() => EXIT.done)

function tokenName(text: string): string {
  const name = TokenName.safeParse(text)
  if (name.success) return name.data
  throw new InvalidArgumentError(`It ${name.error.issues.map(({ message }) => message).join(' ')}.`)
}

function linesOf(tokens: readonly TokenView[]): Line[] {
  return table(
    ['NAME', 'ROLE', 'STATUS', 'CREATED', 'BY', 'EXPIRES'],
    tokens.map(({ name, role, status, created_at, created_by, expires_at }) => {
      return [name, role, status, created_at, created_by ?? '', expires_at ?? 'never']
    }),
  )
}

type Answered<T> = ResultAsync<T, string>

/** Makes, lists and revokes tokens. Errors are texts for people. */
type TokenBook = {
  create(wanted: WantedToken): Answered<NewTokenView>
  /** Newest first. */
  list(): Answered<readonly TokenView[]>
  revoke(id: string, reason: string | undefined): Answered<TokenView>
}

function bookOfServer({ client: { tokens }, explain }: Connection): TokenBook {
  return {
    create: ({ name, role, expiresIn }) =>
      tokens.create({ name, role, expires_in: expiresIn }).mapErr(explain),
    list: () => tokens.list().mapErr(explain),
    revoke: (id, reason) => tokens.revoke(id, { reason }).mapErr(explain),
  }
}

const HINT =
  'If a server uses this log, name the server instead, with --server and the RETRAI_TOKEN of an admin.'
const READ_WITHIN_MS = 10_000
/** A process that can open the store has all rights of its owner. */
const PRINCIPAL = 'local'
const now = (): number => Date.now() / 1000
const silent = { warn: () => {}, error: () => {} }

/** Works on a log that no server uses, or on an EventStoreDB. */
async function withBookOfStore<T>(
  place: { readonly dataDir?: string; readonly store?: string },
  work: (book: TokenBook) => Promise<Result<T, string>>,
): Promise<Result<T, string>> {
  const found = readStorePlace(place, process.env)
  if (found.isErr()) return err(found.error)
  const { EVENTSTORE_URL, RETRAI_DATA_DIR } = found.value
  const store = await openStore(EVENTSTORE_URL ?? RETRAI_DATA_DIR)
  if (store.isErr()) return err(`${store.error} ${HINT}`)
  const auth = await Auth.open({
    store: store.value,
    sign: signingOf(RETRAI_DATA_DIR),
    configured: null,
    clock: now,
    log: silent,
  })
  try {
    if (await auth.read(READ_WITHIN_MS)) return await work(bookOf(auth))
    return err('The tokens cannot be read: the store is not available, or is damaged.')
  } finally {
    await auth.close()
    await store.value.close()
  }
}

function bookOf(auth: Auth): TokenBook {
  return {
    create: (wanted) =>
      auth
        .create(wanted, PRINCIPAL)
        .map(({ token, secret }) => ({ ...tokenView(token, now()), secret }))
        .mapErr(explain),
    list: () => {
      const all = auth.tokens().map((token) => tokenView(token, now()))
      return new ResultAsync(Promise.resolve(ok(all.reverse())))
    },
    revoke: (id, reason) =>
      auth
        .revoke(id, reason ?? null, PRINCIPAL)
        .map((token) => tokenView(token, now()))
        .mapErr(explain),
  }
}

function explain(error: TokenFailure): string {
  const { code, detail } = tokenProblem(error)
  return detail ?? CATALOGUE[code][2]
}
