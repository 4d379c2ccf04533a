import { Command, InvalidArgumentError, Option } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { TokenView } from '../../api/auth.ts'
import { ROLES, type Role } from '../../api/roles.ts'
import { TokenName } from '../../auth/token-ledger.ts'
import { endingWith, type ServerOptions, serverCommand, withServer } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { duration } from '../terminal/option-values.ts'
import type { Line } from '../terminal/plain-text.ts'
import { print, printJson, say } from '../terminal/print.ts'
import { table } from '../terminal/table.ts'
import { bookOfServer, type TokenBook, withBookOfStore } from './token-book.ts'

const HELP = `
A token is made and revoked through a running server, which takes the token of an admin once there is
one; or, while no server uses the log, in the log itself (--data-dir, --store). The first token must be
an admin's. docs/operations.md says what each role may do.`

type Options = ServerOptions & {
  readonly dataDir?: string
  readonly store?: string
  readonly json?: boolean
}
type Work = (book: TokenBook) => Promise<Result<void, string>>

/** `retrai token`: who may ask a server. */
export function tokenCommand(): Command {
  return new Command('token')
    .description('Make, list and revoke the tokens that a server asks for.')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand())
    .addHelpText('after', HELP)
}

function subcommand(name: string): Command {
  return serverCommand(name)
    .option('--data-dir <folder>', 'the data folder of a server that does not run')
    .option('--store <url>', 'esdb://… of an EventStoreDB')
    .option('--json', 'print what the API answers')
}

function createCommand(): Command {
  return subcommand('create')
    .description('Make a token. Its secret is printed, and never again.')
    .argument('<name>', 'the principal in the records of what is done with it', tokenName)
    .addOption(
      new Option('--role <role>', 'what it may do').choices(ROLES).makeOptionMandatory(true),
    )
    .option('--expires-in <time>', 'such as 12h or 30d (default: it does not expire)', duration)
    .action(
      (name: string, options: Options & { readonly role: Role; readonly expiresIn?: number }) =>
        withBook(options, async (book) => {
          const { role, expiresIn = null } = options
          const created = await book.create({ name, role, expiresIn })
          if (created.isErr()) return err(created.error)
          const { secret, expires_at } = created.value
          const until = expires_at === null ? 'does not expire' : `expires ${expires_at}`
          say(`The token "${name}" has the role ${role} and ${until}. Its secret is told only now:`)
          await (options.json ? printJson(created.value) : print(secret))
          return ok()
        }),
    )
}

function listCommand(): Command {
  return subcommand('list')
    .description('List all tokens that were ever made, newest first.')
    .action((options: Options) =>
      withBook(options, async (book) => {
        const tokens = await book.list()
        if (tokens.isErr()) return err(tokens.error)
        if (options.json) for (const token of tokens.value) await printJson(token)
        else for (const line of linesOf(tokens.value)) await print(line)
        return ok()
      }),
    )
}

function revokeCommand(): Command {
  return subcommand('revoke')
    .description('Revoke a token: it is refused from then on, and what it has open is closed.')
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
    return withServer(options, async (server) => done(await work(bookOfServer(server))))
  }
  return endingWith(async () => done(await withBookOfStore(place, work)))
}

const done = (worked: Result<void, string>): Result<number, string> => worked.map(() => EXIT.done)

function tokenName(text: string): string {
  const name = TokenName.safeParse(text)
  if (name.success) return name.data
  throw new InvalidArgumentError(name.error.issues.map(({ message }) => message).join(' '))
}

function linesOf(tokens: readonly TokenView[]): Line[] {
  return table(
    ['NAME', 'ROLE', 'STATUS', 'CREATED', 'BY', 'EXPIRES'],
    tokens.map(({ name, role, status, created_at, created_by, expires_at }) => {
      return [name, role, status, created_at, created_by ?? '', expires_at ?? 'never']
    }),
  )
}
