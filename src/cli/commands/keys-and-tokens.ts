import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { err, ok, ResultAsync } from 'neverthrow'
import type { NewTokenView, TokenView } from '../../api/auth.ts'
import { ROLES, type Role, TokenName } from '../../api/auth.ts'
import { CATALOGUE } from '../../api/problems.ts'
import { readPublishedKeys } from '../../audit/keyring.ts'
import { Auth, type TokenFailure, type WantedToken } from '../../auth/auth.ts'
import { tokenView } from '../../auth/token-ledger.ts'
import { tokenProblem } from '../../http/problems/problem-of.ts'
import { readStorePlace } from '../../server/read-settings.ts'
import { type Connection, connect, type ServerOptions, serverCommand } from '../connection.ts'
import { dataDirOf, keyringOf, openStore, signingOf } from '../data-folder.ts'
import { io } from '../terminal/io.ts'
import { DATA_DIR, duration, given, type JsonOption } from '../terminal/option-values.ts'
import { print, printJson, printList, say } from '../terminal/print.ts'
import { endingWith, offline, type Steps } from '../terminal/steps.ts'

const HELP = `
Make and revoke tokens through a running server: it needs the token of an admin
after the first one is made. Or, while no server uses the log, in the log itself
(--data-dir, --store). The first token must have the role admin.
docs/operations.md says what each role may do.`

type Options = JsonOption & ServerOptions & { readonly dataDir?: string; readonly store?: string }

/** `retrai token`: the tokens of a server. */
export const tokenCommand = (): Command =>
  new Command('token')
    .description('Make, list and revoke the tokens of a server.')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand())
    .addHelpText('after', HELP)

const subcommand = (name: string): Command =>
  serverCommand(name)
    .option('--data-dir <folder>', 'the data folder of a stopped server')
    .option('--store <url>', 'esdb://… of an EventStoreDB')
    .option('--json', 'print the answer of the API')

type Creation = Options & { readonly role: Role; readonly expiresIn?: number }

const createCommand = (): Command =>
  subcommand('create')
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
      onTokens(async function* (book, name: string, options: Creation) {
        const { role, expiresIn = null, json } = options
        const created = yield* book.create({ name, role, expiresIn })
        const { secret, expires_at } = created
        const until = expires_at === null ? 'does not expire' : `expires ${expires_at}`
        say(`The token "${name}" has the role ${role} and ${until}. Its secret is shown only now:`)
        await (json ? printJson(created) : print(secret))
      }),
    )

const listCommand = (): Command =>
  subcommand('list')
    .description('List all tokens, newest first, revoked ones too.')
    .action(
      onTokens(async function* (book, { json = false }: Options) {
        const tokens = yield* book.list()
        if (tokens.length === 0 && !json) return say('There are no tokens yet.')
        await printList(json, HEAD, tokens, rowOf)
      }),
    )

const revokeCommand = (): Command =>
  subcommand('revoke')
    .description('Revoke a token. The server refuses it from now on, and closes its connections.')
    .argument('<name>')
    .option('--reason <text>', 'kept in the log')
    .action(
      onTokens(async function* (
        book,
        name: string,
        { reason, json }: Options & { readonly reason?: string },
      ) {
        const token = (yield* book.list()).find((each) => each.name === name)
        if (token === undefined) return yield* err(`There is no token "${name}".`)
        const revoked = yield* book.revoke(token.id, reason)
        await (json ? printJson(revoked) : print(`${name} revoked`))
      }),
    )

/** The action of a command on the tokens of a server, or of a log that no server uses. `work` also gets its arguments. */
const onTokens =
  <A extends readonly unknown[]>(work: (book: TokenBook, ...args: A) => Steps) =>
  (...args: readonly unknown[]): Promise<void> =>
    endingWith(async function* () {
      const options: Options = (args.at(-1) as Command).opts()
      const { dataDir, store } = options
      const withBook = (book: TokenBook) => work(book, ...(args as unknown as A))
      return (dataDir ?? store) === undefined
        ? yield* withBook(bookOfServer(yield* connect(options)))
        : yield* withBookOfStore(given({ dataDir, store }), withBook)
    })

function tokenName(text: string): string {
  const name = TokenName.safeParse(text)
  if (name.success) return name.data
  throw new InvalidArgumentError(`It ${name.error.issues.map(({ message }) => message).join(' ')}.`)
}

const HEAD = ['NAME', 'ROLE', 'STATUS', 'CREATED', 'BY', 'EXPIRES']

const rowOf = ({ name, role, status, created_at, created_by, expires_at }: TokenView) => [
  ...[name, role, status, created_at, created_by ?? '', expires_at ?? 'never'],
]

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

async function* withBookOfStore(
  place: { readonly dataDir?: string; readonly store?: string },
  work: (book: TokenBook) => Steps,
): Steps {
  const { EVENTSTORE_URL, RETRAI_DATA_DIR } = yield* readStorePlace(place, io().env)
  const opened = await openStore(EVENTSTORE_URL ?? RETRAI_DATA_DIR)
  const store = yield* opened.mapErr((why) => `${why} ${HINT}`)
  const sign = signingOf(RETRAI_DATA_DIR)
  const auth = new Auth({ store, sign, configured: null, clock: now, log: silent })
  try {
    if (await auth.read(READ_WITHIN_MS)) return yield* work(bookOf(auth))
    yield* err('The tokens cannot be read: the store is not available, or is damaged.')
  } finally {
    await auth.close()
    await store.close()
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

const KEY_HELP = `
The server signs proofs, exports and checkpoints with the newest key, and
publishes all keys at /api/keys. The private part of the key is in the folder
"keys" of the data folder. Keep the fingerprints where the operator of the
server cannot change them: "retrai verify --fingerprint" compares with them.
A running server uses a new key at once; you need not restart it.`

type KeyOptions = JsonOption & { readonly dataDir?: string }

const keySubcommand = (name: string, description: string, rotates: boolean): Command =>
  new Command(name)
    .description(description)
    .option(...DATA_DIR)
    .option('--json', 'print the answer of GET /api/keys')
    .action(offline((options: KeyOptions) => showKeys(options, rotates)))

/** `retrai key`: the keys with which a server signs. */
export const keyCommand = (): Command =>
  new Command('key')
    .description('List or rotate the keys with which a server signs.')
    .addCommand(keySubcommand('list', 'List the public keys, newest first.', false))
    .addCommand(
      keySubcommand(
        'rotate',
        'Make a new key. The list keeps the old key; its private part is deleted, once witnesses know the new one.',
        true,
      ),
    )
    .addHelpText('after', KEY_HELP)

async function* showKeys({ dataDir, json }: KeyOptions, rotates: boolean): Steps {
  const folder = yield* dataDirOf(dataDir)
  const read = await readPublishedKeys(join(folder, 'keys'))
  let published = yield* read.mapErr(({ message }) => message)
  if (published.keys.length === 0) {
    return yield* err(
      `There is no key in ${folder}, so it is not the data folder of a server. Name that with --data-dir.`,
    )
  }
  if (rotates) {
    const keyring = yield* await keyringOf(folder)
    published = (yield* keyring.rotate().mapErr(({ message }) => message)).published
  }
  if (json === true) return printJson(published)
  for (const { fingerprint, created, retired } of published.keys) {
    const until = retired === null ? 'in use' : `retired ${retired}`
    await print(`${fingerprint}  made ${created}  ${until}`)
  }
  say(`These are the keys of the data folder ${folder}.`)
}
