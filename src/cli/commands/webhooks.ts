import type { Command } from 'commander'
import type { WebhookView } from '../../api/webhooks.ts'
import { connected, serverCommand } from '../connection.ts'
import { JSON_LINES, type JsonOption } from '../terminal/option-values.ts'
import { printList, say } from '../terminal/print.ts'
import { PLAIN_EXIT_CODES } from '../terminal/steps.ts'

const HELP = `
A webhook sends which kind, run, seq and hash a record has, never its content.
They are made, tried, resumed and deleted in the console, or at /api/webhooks.
The role admin is needed.
${PLAIN_EXIT_CODES}`

/** `retrai webhooks`: to whom a server sends word of runs, and how far each is. */
export const webhooksCommand = (): Command =>
  serverCommand('webhooks', HELP)
    .description('List the webhooks of a server, oldest first: how far each is, and why.')
    .option(...JSON_LINES)
    .action(
      connected(async function* ({ client, explain }, { json = false }: JsonOption) {
        const all = yield* client.webhooks.list().mapErr(explain)
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
