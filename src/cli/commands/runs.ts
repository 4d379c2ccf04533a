import { type Command, Option } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { RunSummary } from '../../client/index.ts'
import { RUN_STATUSES, type RunStatus } from '../../domain/state.ts'
import { type Server, type ServerOptions, serverCommand, withServer } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { positiveInt } from '../terminal/option-values.ts'
import { print, printJson, say, table } from '../terminal/print.ts'

type Options = ServerOptions & {
  readonly status?: RunStatus
  readonly goal?: string
  readonly limit: number
  readonly json?: boolean
}

/** The most that a server gives at once. */
const PAGE = 1000

/** `retrai runs`: the runs, newest first. */
export function runsCommand(): Command {
  return serverCommand('runs')
    .description('List the runs, newest first.')
    .addOption(new Option('--status <status>', 'only those with this status').choices(RUN_STATUSES))
    .option('--goal <goal>', 'only those with this goal')
    .option('--limit <n>', 'the most to list', positiveInt, 20)
    .option('--json', 'print each run as JSON, one a line')
    .action((options: Options) => withServer(options, (server) => runs(server, options)))
}

async function runs(
  { client, explain }: Server,
  { status, goal, limit, json = false }: Options,
): Promise<Result<number, string>> {
  const found: RunSummary[] = []
  let next: string | null | undefined
  while (next !== null && found.length < limit) {
    const page = await client.runs.list({
      status,
      goal,
      limit: Math.min(PAGE, limit - found.length),
      cursor: next,
    })
    if (page.isErr()) return err(explain(page.error))
    found.push(...page.value.runs)
    next = page.value.next
  }
  if (found.length === 0 && !json) {
    say(status === undefined && goal === undefined ? 'There are no runs yet.' : 'No run fits this.')
    return ok(EXIT.done)
  }
  const rows = found.map((run) => [run.run_id, run.goal, run.status, run.created_at])
  if (json) for (const run of found) await printJson(run)
  else for (const line of table(['RUN', 'GOAL', 'STATUS', 'CREATED'], rows)) await print(line)
  if (next !== null && !json) say(`There are more than ${limit}; --limit shows more of them.`)
  return ok(EXIT.done)
}
