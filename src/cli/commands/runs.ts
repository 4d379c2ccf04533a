import { type Command, Option } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Model, RunDetails, RunSummary } from '../../client/index.ts'
import { planLines } from '../../domain/plan.ts'
import { RUN_STATUSES, type RunStatus } from '../../domain/state.ts'
import { counted } from '../../lib/counted.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { waitText } from '../terminal/event-line.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { positiveInt } from '../terminal/option-values.ts'
import { oneLine } from '../terminal/plain-text.ts'
import { print, printJson, say, table } from '../terminal/print.ts'
import { callLines, shownHash } from '../terminal/waiting-call.ts'

type JsonOption = ServerOptions & { readonly json?: boolean }

type ListOptions = JsonOption & {
  readonly status?: RunStatus
  readonly goal?: string
  readonly parent?: string
  readonly limit: number
}

/** The longest page of a server. */
const PAGE = 1000

/** `retrai runs`: the runs, newest first. */
export function runsCommand(): Command {
  return serverCommand('runs')
    .description('List the runs, newest first.')
    .addOption(new Option('--status <status>', 'only those with this status').choices(RUN_STATUSES))
    .option('--goal <goal>', 'only those with this goal')
    .option('--parent <run>', 'only those that the agent of this run has started')
    .option('--limit <n>', 'the most to list', positiveInt, 20)
    .option('--json', 'print each run as JSON, one a line')
    .action((options: ListOptions) =>
      whenConnected(options, (connection) => runs(connection, options)),
    )
}

async function runs(
  { client, explain }: Connection,
  { status, goal, parent, limit, json = false }: ListOptions,
): Promise<Result<number, string>> {
  const found: RunSummary[] = []
  let next: string | null | undefined
  while (next !== null && found.length < limit) {
    const page = await client.runs.list({
      status,
      goal,
      parent,
      limit: Math.min(PAGE, limit - found.length),
      cursor: next,
    })
    if (page.isErr()) return err(explain(page.error))
    found.push(...page.value.runs)
    next = page.value.next
  }
  if (found.length === 0 && !json) {
    say((status ?? goal ?? parent) === undefined ? 'There are no runs yet.' : 'No run matches.')
    return ok(EXIT.done)
  }
  const isFamily = found.some(({ parent_run_id }) => parent_run_id !== undefined)
  const rows = found.map(({ run_id, goal, status, created_at, parent_run_id }) => [
    ...[run_id, goal, status, created_at],
    ...(isFamily ? [parent_run_id ?? ''] : []),
  ])
  const head = ['RUN', 'GOAL', 'STATUS', 'CREATED', ...(isFamily ? ['SUB-AGENT OF'] : [])]
  if (json) for (const run of found) await printJson(run)
  else for (const line of table(head, rows)) await print(line)
  if (next !== null && !json) say(`There are more than ${limit}; --limit shows more of them.`)
  return ok(EXIT.done)
}

/** `retrai show RUN`: the state of a run. */
export function showCommand(): Command {
  return serverCommand('show')
    .description('Show the state of a run.')
    .argument('<run>', 'the id of the run')
    .option('--json', 'print the run as JSON')
    .action((runId: string, options: JsonOption) =>
      whenConnected(options, (connection) => show(connection, runId, options.json ?? false)),
    )
}

async function show(
  { client, hint, explain }: Connection,
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
  const waiting = run.progress.waiting_for
  if (waiting?.approval !== undefined) {
    const { approval } = waiting
    for (const line of callLines(approval)) await print(line)
    for (const command of ['approve', 'deny']) {
      await print(hint(command, run.run_id, '--call', shownHash(approval)))
    }
  } else if (waiting !== null) {
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
    ['queued', run.queued_reason],
    ['goal', run.goal],
    ['parent', run.parent?.run_id],
    ['check', run.check?.command],
    ['settings', run.goal_options && JSON.stringify(run.goal_options)],
    ['goals', run.all_of?.map(goalOf).join('; ')],
    ['reason', final_state?.goal_reason],
    ['ended by', run.end_reason === final_state?.goal_reason ? null : run.end_reason],
    ['summary', run.summary?.text],
    ['error', run.error],
    ['folder', run.cwd],
    ['model', run.model_name],
    ['pool', run.pool],
    ['effort', run.reasoning_effort],
    ['fallbacks', run.fallback_models.join(', ') || null],
    ['without', run.tools?.exclude.join(', ')],
    ['replies', run.max_output_tokens === null ? null : `at most ${run.max_output_tokens} tokens`],
    ['iteration', `${progress.iteration} of at most ${run.max_iterations}`],
    ['turns', `at most ${run.max_turns_per_iteration} an iteration`],
    ['tokens', amount(progress.total_tokens, run.max_tokens)],
    ['cost', costOf(run)],
    ['progress', stuckness(progress)],
    ...planLines(progress.plan ?? []).map((line) => ['plan', line] as const),
    ['seconds', run.max_seconds === null ? null : `at most ${run.max_seconds}`],
    ['created', run.created_at],
    ['ended', run.ended_at],
    ['seq', String(progress.seq)],
    ['waits for', run.waiting_for && waitText(run.waiting_for)],
    ['waits for', progress.waiting_for?.summary],
    ['waits for', progress.subagent && `the sub-agent ${progress.subagent.run_id}`],
    ['asked by', askedBy(progress)],
    ...(run.subagents ?? []).map((each) => ['sub-agent', subagentText(each)] as const),
  ]
  return rows.flatMap(([name, value]) => (value == null ? [] : [[name, value] as const]))
}

/** One of several goals, in a few words. */
function goalOf({ goal, check, goal_options }: NonNullable<RunDetails['all_of']>[number]): string {
  const options = goal_options === undefined ? '' : ` ${JSON.stringify(goal_options)}`
  return `${goal}${check === undefined ? '' : ` \`${check.command}\``}${options}`
}

const askedBy = ({ subagent }: RunDetails['progress']): string | null =>
  subagent?.waiting_for ? `${subagent.waiting_for.run_id}: ${subagent.waiting_for.summary}` : null

function subagentText(each: NonNullable<RunDetails['subagents']>[number]): string {
  const { run_id, status, total_tokens, estimated_cost_usd: cost } = each
  if (total_tokens === null) return `${run_id} ${status}`
  return `${run_id} ${status}: ${total_tokens} tokens, ${cost === null ? 'unknown cost' : `$${cost.toFixed(4)}`}`
}

const amount = (used: number | string, limit: number | string | null): string => {
  return limit === null ? `${used}` : `${used} of at most ${limit}`
}

function stuckness({ stuck }: RunDetails['progress']): string | null {
  if (stuck === undefined) return null
  return `none: ${stuck.pattern} for ${stuck.times} turns (${stuck.action})`
}

function costOf({ progress: { estimated_cost_usd: cost }, max_cost_usd }: RunDetails): string {
  const limit = max_cost_usd === null ? null : `$${max_cost_usd}`
  return amount(cost === null ? 'unknown' : `$${cost.toFixed(4)}`, limit)
}

type Options = JsonOption & { readonly all?: boolean }

const HEAD = ['MODEL', 'WINDOW', 'OUTPUT', '$/M IN', '$/M CACHED', '$/M OUT', 'EFFORTS', 'NEEDS']

/** `retrai models`: the models that a run can name. */
export function modelsCommand(): Command {
  return serverCommand('models')
    .description('List the models that a run can name. The default comes first, with a star.')
    .option('--all', 'also those that cannot be called, such as those without a key')
    .option('--json', 'print each model as JSON, one a line; implies --all')
    .action(({ json = false, all = false, ...options }: Options) =>
      whenConnected(options, async ({ client, explain }) => {
        const found = await client.models()
        if (found.isErr()) return err(explain(found.error))
        const models = found.value
        if (json) {
          for (const model of models) await printJson(model)
          return ok(EXIT.done)
        }
        const shown = models.filter(({ problem }) => all || problem === null)
        if (shown.length > 0) for (const line of table(HEAD, shown.map(row))) await print(line)
        const hidden = models.length - shown.length
        if (hidden > 0) {
          say(
            `${counted(hidden, 'more model')} cannot be called, mostly because a key is not set; --all shows them.`,
          )
        }
        return ok(EXIT.done)
      }),
    )
}

const row = (model: Model): string[] => [
  `${model.name}${model.is_default ? ' *' : ''}`,
  tokens(model.context_window),
  tokens(model.max_output_tokens),
  ...(['input', 'cached_input', 'output'] as const).map((kind) => {
    const usd = model.prices?.[`${kind}_usd_per_mtok`]
    return usd === undefined ? '?' : String(usd)
  }),
  model.reasoning_efforts === null ? '?' : model.reasoning_efforts.join(' ') || '-',
  model.problem === null ? '' : needs(model),
]

const needs = ({ key_variable, key_set, problem }: Model): string =>
  key_variable !== null && !key_set ? key_variable : (problem ?? '')

function tokens(count: number | null): string {
  if (count === null) return '?'
  return count >= 1_000_000 ? `${count / 1_000_000}M` : `${Math.round(count / 1_000)}k`
}
