import { Command } from 'commander'
import { err } from 'neverthrow'
import type { WebhookView } from '../../api/webhooks.ts'
import { ALL_KINDS, type Kind } from '../../client/index.ts'
import { present } from '../../domain/present.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { JSON_LINES, type JsonOption, someOf } from '../terminal/option-values.ts'
import { print, printList, say } from '../terminal/print.ts'
import { type Calls, EXIT } from '../terminal/steps.ts'

const HELP = `
A webhook sends which kind, run, seq and hash a record has, never its content.
docs/operations.md says what a receiver must do. The role admin is needed.`

/** `retrai webhooks`: to whom a server sends word of runs. */
export const webhooksCommand = (): Command =>
  new Command('webhooks')
    .description('List the webhooks of a server, and how far each is; add, test and delete them.')
    .addCommand(listCommand(), { isDefault: true })
    .addCommand(addCommand())
    .addCommand(actOn('test', 'Send a delivery without data, and print what comes back.'))
    .addCommand(actOn('resume', 'Continue a stopped webhook, and try again now what waits.'))
    .addCommand(actOn('delete', 'Delete a webhook. What is pending is not sent.'))
    .addHelpText('after', HELP)

const listCommand = (): Command =>
  serverCommand('list')
    .description('List the webhooks, oldest first.')
    .option(...JSON_LINES)
    .action(
      connected(async function* ({ client }, { json = false }: JsonOption) {
        const all = yield* client.webhooks.list()
        if (all.length === 0 && !json) return say('There are no webhooks.')
        await printList(json, HEAD, all, rowOf)
      }),
    )

const HEAD = ['ID', 'STATE', 'DELIVERED', 'PENDING', 'NEXT TRY', 'URL', 'WHY']

const rowOf = (webhook: WebhookView) => {
  const { id, state, delivered, pending, next_try, url, last_error } = webhook
  const counts = [String(delivered), String(pending)]
  return [id, state, ...counts, next_try ?? '', url, last_error ?? '']
}

type Creation = {
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
      connected(async function* ({ client }, url: string, options: Creation) {
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
