import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { RunDetails } from '../../client/index.ts'
import { type Server, type ServerOptions, serverCommand, withServer } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { oneLine } from '../terminal/plain-text.ts'
import { print, printJson } from '../terminal/print.ts'

type Options = ServerOptions & { readonly json?: boolean }

/** `retrai show RUN`: how a run stands. */
export function showCommand(): Command {
  return serverCommand('show')
    .description('Show how a run stands.')
    .argument('<run>', 'the id of the run')
    .option('--json', 'print it as JSON')
    .action((runId: string, options: Options) =>
      withServer(options, (server) => show(server, runId, options.json ?? false)),
    )
}

async function show(
  { client, hint, explain }: Server,
  runId: string,
  json: boolean,
): Promise<Result<number, string>> {
  const found = await client.runs.get(runId)
  if (found.isErr()) return err(explain(found.error))
  const run = found.value
  if (json) {
    await printJson(run, 2)
    return ok(EXIT.done)
  }
  for (const [name, value] of rowsOf(run)) await print(`${name.padEnd(10)} ${oneLine(value)}`)
  if (run.progress.waiting_for !== null) {
    await print(`${' '.repeat(10)} ${hint('approve', run.run_id)}`)
    await print(`${' '.repeat(10)} ${hint('abort', run.run_id)}`)
  }
  return ok(EXIT.done)
}

type Row = readonly [name: string, value: string]

function rowsOf(run: RunDetails): Row[] {
  const { progress, final_state } = run
  const rows: (readonly [name: string, value: string | null | undefined])[] = [
    ['run', run.run_id],
    ['status', run.status],
    ['goal', run.goal],
    ['reason', final_state?.goal_reason],
    ['ended by', run.end_reason === final_state?.goal_reason ? null : run.end_reason],
    ['error', run.error],
    ['folder', run.cwd],
    ['model', run.model_name],
    ['iteration', `${progress.iteration} of at most ${run.max_iterations}`],
    ['tokens', amount(progress.total_tokens, run.max_tokens)],
    ['cost', costOf(run)],
    ['seconds', run.max_seconds === null ? null : `at most ${run.max_seconds}`],
    ['created', run.created_at],
    ['ended', run.ended_at],
    ['seq', String(progress.seq)],
    ['waits for', progress.waiting_for?.summary],
  ]
  return rows.flatMap(([name, value]) => (value == null ? [] : [[name, value] as const]))
}

const amount = (used: number | string, limit: number | string | null): string => {
  return limit === null ? `${used}` : `${used} of at most ${limit}`
}

function costOf({ progress: { estimated_cost_usd: cost }, max_cost_usd }: RunDetails): string {
  const limit = max_cost_usd === null ? null : `$${max_cost_usd}`
  return amount(cost === null ? 'unknown' : `$${cost.toFixed(4)}`, limit)
}
