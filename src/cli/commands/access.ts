import type { Command } from 'commander'
import type { AccessQuery, LoggedAccess } from '../../client/index.ts'
import { ACCESS_KINDS } from '../../domain/access.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { JSON_LINES, type JsonOption, positiveInt, someOf } from '../terminal/option-values.ts'
import { timeOf } from '../terminal/plain-text.ts'
import { printList, say } from '../terminal/print.ts'
import type { Steps } from '../terminal/steps.ts'

type Options = JsonOption &
  Pick<AccessQuery, 'principal' | 'kinds' | 'limit'> & { readonly run?: string }

/** `retrai access`: the access log, newest first. */
export const accessCommand = (): Command =>
  serverCommand('access')
    .description('Show who has read, watched, exported or verified which run, newest first.')
    .option('--run <run>', 'only accesses to this run')
    .option('--principal <name>', 'only accesses of this person or program')
    .option('--kinds <list>', `only some of ${ACCESS_KINDS.join(', ')}`, someOf(ACCESS_KINDS))
    .option('--limit <n>', 'the most to show, up to 5000', positiveInt, 50)
    .option(...JSON_LINES)
    .action(connected(show))

const HEAD = ['SEQ', 'WHEN', 'WHO', 'FROM', 'WHAT', 'RUN', 'TIMES', 'DETAILS']

async function* show(
  { client, explain }: Connection,
  { run, json = false, ...query }: Options,
): Steps {
  const { principal, kinds, limit } = query
  const asked = { run_id: run, principal, kinds, limit, direction: 'backward' } as const
  const { entries, next } = yield* client.access.list(asked).mapErr(explain)
  await printList(json, HEAD, entries, rowOf)
  if (next !== null && !json) say(`There are more than ${limit}; --limit shows more of them.`)
}

function rowOf({ seq, kind, payload }: LoggedAccess): string[] {
  const { count, last_ts } = payload
  const when = timeOf(last_ts)
  if (!('operation' in payload)) return [String(seq), when, '', '', kind, '', String(count), '']
  const { principal, run_id, operation } = payload
  const client = 'client' in payload ? payload.client : 'a socket'
  const who = [principal ?? 'unknown', client ?? 'many addresses']
  const refused = 'status' in payload ? `status ${payload.status}` : ''
  const asked = 'asked' in payload ? payload.asked : refused
  return [String(seq), when, ...who, kind, run_id ?? '', String(count), `${operation} ${asked}`]
}
