import { Command } from 'commander'
import { err } from 'neverthrow'
import type { DeliveryView, WebhookView } from '../../api/webhooks.ts'
import { ALL_KINDS } from '../../client/index.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { given, type JsonOption, someOf } from '../terminal/option-values.ts'
import { print, printJson, printList, say } from '../terminal/print.ts'
import { EXIT, type Steps } from '../terminal/steps.ts'

const HELP = `
A webhook sends which kind, run, seq and hash a record has, never its content.
docs/operations.md says what a receiver must do. The role admin is needed.`

/** `retrai webhooks`: to whom a server sends word of runs. */
export const webhooksCommand = (): Command =>
  new Command('webhooks')
    .description('List the webhooks of a server, and how far each is; add, test and delete them.')
    .addCommand(listCommand(), { isDefault: true })
    .addCommand(addCommand())
    .addCommand(actOn('delete', 'Delete a webhook. What is pending is not sent.'))
    .addCommand(actOn('resume', 'Continue a stopped webhook, and try again now what waits.'))
    .addCommand(testCommand())
    .addCommand(deliveriesCommand())
    .addHelpText('after', HELP)

const subcommand = (name: string, description: string): Command =>
  serverCommand(name).description(description).option('--json', 'print the answer of the API')

const listCommand = (): Command =>
  subcommand('list', 'List the webhooks, oldest first.').action(
    connected(async function* ({ client, explain }, { json = false }: JsonOption) {
      const all = yield* client.webhooks.list().mapErr(explain)
      if (all.length === 0 && !json) return say('There are no webhooks.')
      await printList(json, HEAD, all, rowOf)
    }),
  )

type Creation = JsonOption & {
  readonly kinds?: (typeof ALL_KINDS)[number][]
  readonly from?: string
  readonly project?: string
  readonly tag?: string
  readonly principal?: string
}

const addCommand = (): Command =>
  subcommand('add', 'Make a webhook, and print its secret. It cannot be printed again.')
    .argument('<url>', 'an https:// address')
    .option(
      '--kinds <list>',
      'kinds of records (default: those that need a person or end a run)',
      someOf(ALL_KINDS),
    )
    .option('--project <name>', 'only runs in a folder with this name')
    .option('--tag <tag>', 'only runs with this tag')
    .option('--principal <name>', 'only runs that this token has started')
    .option('--from <cursor>', 'where to begin: now, start, or a cursor (default: now)')
    .action(
      connected(async function* ({ client, explain }, url: string, options: Creation) {
        const { json, kinds, from, project, tag, principal } = options
        const run = given({ project, tag, principal })
        const wanted = { url, run, ...given({ kinds, from }) }
        const created = yield* client.webhooks.create(wanted).mapErr(explain)
        say(`The webhook ${created.id} is active. Its secret is shown only now:`)
        await (json ? printJson(created) : print(created.secret))
      }),
    )

const actOn = (what: 'delete' | 'resume', description: string): Command =>
  subcommand(what, description)
    .argument('<id>')
    .action(
      connected(async function* (connection, given: string, { json }: JsonOption) {
        const { id } = yield* webhookOf(connection, given)
        const { client, explain } = connection
        const webhook = yield* client.webhooks[what](id).mapErr(explain)
        await (json ? printJson(webhook) : print(`${webhook.id} ${what}d`))
      }),
    )

const testCommand = (): Command =>
  subcommand('test', 'Send a delivery without data, and print what comes back.')
    .argument('<id>')
    .action(
      connected(async function* (connection, given: string, { json }: JsonOption) {
        const { id } = yield* webhookOf(connection, given)
        const tested = yield* connection.client.webhooks.test(id).mapErr(connection.explain)
        const { error, status, duration_ms } = tested
        const text = error ?? `It was received: ${status} after ${duration_ms} ms.`
        await (json ? printJson(tested) : print(text))
        return error === null ? EXIT.done : EXIT.notDone
      }),
    )

const deliveriesCommand = (): Command =>
  subcommand('deliveries', 'List the last tries of a webhook, newest first.')
    .argument('<id>')
    .action(
      connected(async function* (connection, given: string, { json = false }: JsonOption) {
        const { id } = yield* webhookOf(connection, given)
        const all = yield* connection.client.webhooks.deliveries(id).mapErr(connection.explain)
        await printList(json, ['AT', 'RUN', 'SEQ', 'KIND', 'TRY', 'OUTCOME'], all, tryRow)
      }),
    )

const tryRow = ({ at, run_id, seq, kind, attempt, error }: DeliveryView) => [
  ...[at, run_id, String(seq), kind, String(attempt), error ?? 'received'],
]

const HEAD = ['ID', 'STATE', 'DELIVERED', 'PENDING', 'NEXT TRY', 'URL', 'WHY']

const rowOf = (webhook: WebhookView) => {
  const { id, state, delivered, pending, next_try, url, last_error } = webhook
  const counts = [String(delivered), String(pending)]
  return [id, state, ...counts, next_try ?? '', url, last_error ?? '']
}

/** The webhook whose id begins with what is given. */
async function* webhookOf({ client, explain }: Connection, given: string): Steps<WebhookView> {
  const all = yield* client.webhooks.list().mapErr(explain)
  const found = all.filter(({ id }) => id.startsWith(given.toLowerCase()))
  const [only] = found
  if (only !== undefined && found.length === 1) return only
  const ids = found.map(({ id }) => id).join(', ')
  return yield* err(
    only === undefined
      ? `There is no webhook ${given}. "retrai webhooks" lists them.`
      : `More than one webhook has an id that begins with ${given}: ${ids}`,
  )
}
