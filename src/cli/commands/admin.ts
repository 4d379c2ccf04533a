import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { err } from 'neverthrow'
import { ROLES, type Role, TokenName, type TokenView } from '../../api/auth.ts'
import type { WebhookView } from '../../api/webhooks.ts'
import { readPublishedKeys } from '../../checkpoints/keyring.ts'
import { ALL_KINDS, type Kind } from '../../client/index.ts'
import { present } from '../../domain/present.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { dataDirOf, keyringOf } from '../data-folder.ts'
import {
  DATA_DIR,
  duration,
  JSON_LINES,
  type JsonOption,
  someOf,
} from '../terminal/option-values.ts'
import { print, printJson, printList, say } from '../terminal/print.ts'
import { type Calls, EXIT, offline, type Steps } from '../terminal/steps.ts'

const HELP = `
The first token must have the role admin: make it while the server is on
loopback without tokens, or with the RETRAI_TOKEN of the server. After that, the
token of an admin is needed. docs/operations.md says what each role may do.`

/** `retrai token`: the tokens of a server. */
export const tokenCommand = (): Command =>
  new Command('token')
    .description('Make, list and revoke the tokens of a server.')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand())
    .addHelpText('after', HELP)

const subcommand = (name: string): Command =>
  serverCommand(name).option('--json', 'print the answer of the API')

type Creation = JsonOption & { readonly role: Role; readonly expiresIn?: number }

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
    .action(connected(create))

function tokenName(text: string): string {
  const name = TokenName.safeParse(text)
  if (name.success) return name.data
  throw new InvalidArgumentError(`It ${name.error.issues.map(({ message }) => message).join(' ')}.`)
}

async function* create(
  { client }: Connection,
  name: string,
  { role, expiresIn, json }: Creation,
): Calls {
  const wanted = { name, role, expires_in: expiresIn ?? null }
  const created = yield* client.tokens.create(wanted)
  const { secret, expires_at } = created
  const until = expires_at === null ? 'does not expire' : `expires ${expires_at}`
  say(`The token "${name}" has the role ${role} and ${until}. Its secret is shown only now:`)
  await (json ? printJson(created) : print(secret))
}

const HEAD = ['NAME', 'ROLE', 'STATUS', 'CREATED', 'BY', 'EXPIRES']

const rowOf = ({ name, role, status, created_at, created_by, expires_at }: TokenView) => [
  name,
  role,
  status,
  created_at,
  created_by ?? '',
  expires_at ?? 'never',
]

const listCommand = (): Command =>
  subcommand('list')
    .description('List all tokens, newest first, revoked ones too.')
    .action(
      connected(async function* ({ client }, { json = false }: JsonOption) {
        const tokens = yield* client.tokens.list()
        if (tokens.length === 0 && !json) return say('There are no tokens yet.')
        await printList(json, HEAD, tokens, rowOf)
      }),
    )

type Revocation = JsonOption & { readonly reason?: string }

const revokeCommand = (): Command =>
  subcommand('revoke')
    .description('Revoke a token. The server refuses it from now on, and closes its connections.')
    .argument('<name>')
    .option('--reason <text>', 'kept in the log')
    .action(
      connected(async function* (
        { client: { tokens } },
        name: string,
        { reason, json }: Revocation,
      ) {
        const token = (yield* tokens.list()).find((each) => each.name === name)
        if (token === undefined) return yield* err(`There is no token "${name}".`)
        const revoked = yield* tokens.revoke(token.id, { reason })
        await (json ? printJson(revoked) : print(`${name} revoked`))
      }),
    )

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

const WEBHOOKS_HELP = `
A webhook sends which kind, run, seq and hash a record has, never its content.
docs/operations.md says what a receiver must do. The role admin is needed.`

/** `retrai webhooks`: to whom a server sends word of runs. */
export const webhooksCommand = (): Command =>
  new Command('webhooks')
    .description('List the webhooks of a server, and how far each is; add, test and delete them.')
    .addCommand(listWebhooks(), { isDefault: true })
    .addCommand(addCommand())
    .addCommand(actOn('test', 'Send a delivery without data, and print what comes back.'))
    .addCommand(actOn('resume', 'Continue a stopped webhook, and try again now what waits.'))
    .addCommand(actOn('delete', 'Delete a webhook. What is pending is not sent.'))
    .addHelpText('after', WEBHOOKS_HELP)

const listWebhooks = (): Command =>
  serverCommand('list')
    .description('List the webhooks, oldest first.')
    .option(...JSON_LINES)
    .action(
      connected(async function* ({ client }, { json = false }: JsonOption) {
        const all = yield* client.webhooks.list()
        if (all.length === 0 && !json) return say('There are no webhooks.')
        await printList(json, WEBHOOK_HEAD, all, webhookRow)
      }),
    )

const WEBHOOK_HEAD = ['ID', 'STATE', 'DELIVERED', 'PENDING', 'NEXT TRY', 'URL', 'WHY']

const webhookRow = (webhook: WebhookView) => {
  const { id, state, delivered, pending, next_try, url, last_error } = webhook
  const counts = [String(delivered), String(pending)]
  return [id, state, ...counts, next_try ?? '', url, last_error ?? '']
}

type NewWebhook = {
  readonly kinds?: Kind[]
  readonly project?: string
  readonly tag?: string
  readonly principal?: string
}

const addCommand = (): Command =>
  serverCommand('add')
    .description('Make a webhook, and print its secret. It cannot be printed again.')
    .argument('<url>', 'an https:// address')
    .option(
      '--kinds <list>',
      'kinds of records (default: those that need a person or end a run)',
      someOf(ALL_KINDS),
    )
    .option('--project <name>', 'only runs in a folder with this name')
    .option('--tag <tag>', 'only runs with this tag')
    .option('--principal <name>', 'only runs that this token has started')
    .action(
      connected(async function* ({ client }, url: string, options: NewWebhook) {
        const { kinds, project, tag, principal } = options
        const run = present({ project, tag, principal })
        const wanted = { url, run, ...present({ kinds }) }
        const { id, secret } = yield* client.webhooks.create(wanted)
        say(`The webhook ${id} is active. Its secret is shown only now:`)
        await print(secret)
      }),
    )

/** Something that is done to the webhook whose id begins with what is given. */
const actOn = (what: 'test' | 'resume' | 'delete', description: string): Command =>
  serverCommand(what)
    .description(description)
    .argument('<id>', 'the beginning of an id')
    .action(
      connected(async function* ({ client }: Connection, given: string): Calls {
        const all = yield* client.webhooks.list()
        const [only, another] = all.filter(({ id }) => id.startsWith(given.toLowerCase()))
        if (only === undefined || another !== undefined) {
          return yield* err(`No id, or more than one, begins with ${given}: see "retrai webhooks".`)
        }
        const { id } = only
        if (what === 'test') {
          const { error, status, duration_ms: ms } = yield* client.webhooks.test(id)
          await print(error ?? `It was received: ${status} after ${ms} ms.`)
          return error === null ? EXIT.done : EXIT.notDone
        }
        yield* client.webhooks[what](id)
        await print(`${id} ${what}d`)
      }),
    )
