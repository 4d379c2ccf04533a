import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { LoggedAccess } from '../../client/index.ts'
import { ACCESS_KINDS, type AccessKind } from '../../domain/access.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { positiveInt, someOf } from '../terminal/option-values.ts'
import { timeOf } from '../terminal/plain-text.ts'
import { print, printJson, say, table } from '../terminal/print.ts'

type Options = ServerOptions & {
  readonly run?: string
  readonly principal?: string
  readonly kinds?: readonly AccessKind[]
  readonly limit: number
  readonly json?: boolean
}

/** The longest page of a server. */
const PAGE = 5000

/** `retrai access`: the access log, newest first. */
export function accessCommand(): Command {
  return serverCommand('access')
    .description('Show who has read, watched, exported or verified which run, newest first.')
    .option('--run <run>', 'only accesses to this run')
    .option('--principal <name>', 'only accesses of this person or program')
    .option('--kinds <list>', `only some of ${ACCESS_KINDS.join(', ')}`, someOf(ACCESS_KINDS))
    .option('--limit <n>', 'the most to show', positiveInt, 50)
    .option('--json', 'print each entry as JSON, one a line')
    .action((options: Options) => whenConnected(options, (connection) => show(connection, options)))
}

async function show(
  { client, explain }: Connection,
  { run, principal, kinds, limit, json = false }: Options,
): Promise<Result<number, string>> {
  const found: LoggedAccess[] = []
  let next: number | null | undefined
  while (next !== null && found.length < limit) {
    const page = await client.access.list({
      run_id: run,
      principal,
      kinds,
      direction: 'backward',
      limit: Math.min(PAGE, limit - found.length),
      after: next,
    })
    if (page.isErr()) return err(explain(page.error))
    found.push(...page.value.entries)
    const { next: place } = page.value
    if (place !== null && next != null && place >= next) {
      return err(`The server sends the entries before ${next} again and again.`)
    }
    next = place
  }
  const head = ['SEQ', 'WHEN', 'WHO', 'FROM', 'WHAT', 'RUN', 'TIMES', 'DETAILS']
  if (json) for (const entry of found) await printJson(entry)
  else for (const line of table(head, found.map(rowOf))) await print(line)
  if (next !== null && !json) say(`There are more than ${limit}; --limit shows more of them.`)
  return ok(EXIT.done)
}

function rowOf({ seq, kind, payload }: LoggedAccess): string[] {
  const { count, last_ts } = payload
  const when = timeOf(last_ts)
  if (!('operation' in payload)) return [String(seq), when, '', '', kind, '', String(count), '']
  const { principal, client, run_id } = payload
  const who = [principal ?? 'unknown', client ?? 'many addresses']
  return [String(seq), when, ...who, kind, run_id ?? '', String(count), detailOf(payload)]
}

function detailOf(payload: Extract<LoggedAccess['payload'], { operation: string }>): string {
  if ('status' in payload) return `${payload.operation}: status ${payload.status}`
  if ('seconds' in payload) {
    const end = payload.last === null ? 'nothing was sent' : `up to ${payload.last}`
    return `${end}, ${Math.round(payload.seconds)} s`
  }
  const others = (payload.queries?.length ?? 1) - 1 + (payload.unlisted ?? 0)
  const asked = payload.asked === '' ? payload.operation : `${payload.operation} ${payload.asked}`
  if (others === 0) return asked
  return `${asked} and ${others === 1 ? 'another query' : `${others} other queries`}`
}
