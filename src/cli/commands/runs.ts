import { type Command, Option } from 'commander'
import {
  ALL_KINDS,
  type Kind,
  type Model,
  type RunDetails,
  type RunQuery,
  type RunSummary,
  type SearchResult,
} from '../../client/index.ts'
import { oneLine } from '../../domain/plain-text.ts'
import { planLines } from '../../domain/plan.ts'
import { RUN_STATUSES } from '../../domain/state.ts'
import { counted } from '../../lib/text.ts'
import {
  type Connection,
  connected,
  newestRuns,
  type ServerOptions,
  serverCommand,
} from '../connection.ts'
import { waitText } from '../terminal/event-line.ts'
import {
  JSON_LINES,
  type JsonOption,
  positiveInt,
  repeated,
  someOf,
} from '../terminal/option-values.ts'
import { type Line, outcome, print, printJson, printList, say } from '../terminal/print.ts'
import type { Calls } from '../terminal/steps.ts'
import { callLines, pauseHints, shownHash } from './human-checks.ts'

type ListOptions = JsonOption &
  Pick<RunQuery, 'status' | 'q' | 'project' | 'model' | 'tag'> & {
    readonly limit: number
  }

/** `retrai runs`: the runs, newest first. */
export const runsCommand = (): Command =>
  serverCommand('runs')
    .description('List the runs, newest first.')
    .option('--q <text>', 'only those with this in title, goal, folder or a tag')
    .addOption(new Option('--status <status>', 'only those with this status').choices(RUN_STATUSES))
    .option('--project <name>', 'only those in a folder of this name')
    .option('--model <name>', 'only those with this model')
    .option('--tag <tag>', 'only those with this tag; repeat it for several', repeated)
    .option('--limit <n>', 'the most to list', positiveInt, 20)
    .option(...JSON_LINES)
    .action(connected(list))

/** As many digits of an id as the console shows. */
const SHORT = 8
const shortId = (id = ''): string => id.slice(0, SHORT)

async function* list(
  connection: Connection,
  { limit, json = false, server: _, ...query }: ListOptions & ServerOptions,
): Calls {
  const { runs: found, hasMore } = yield* newestRuns(connection, query, limit)
  if (found.length === 0 && !json) {
    return say(Object.keys(query).length > 0 ? 'No run matches.' : 'There are no runs yet.')
  }
  const isFamily = found.some(({ parent_run_id }) => parent_run_id !== undefined)
  const isLater = found.some(({ origin }) => origin !== undefined)
  const head = ['RUN', 'STATUS', 'PROJECT', 'MODEL', 'ITERATION', 'COST', 'CREATED']
  await printList(
    json,
    [...head, ...(isFamily ? ['SUB-AGENT OF'] : []), ...(isLater ? ['BEGINS FROM'] : []), 'TITLE'],
    found,
    (run) => {
      const { cwd = '', model_name = '', iteration = 0, max_iterations: most = '' } = run
      const cost = run.estimated_cost_usd
      return [
        shortId(run.run_id),
        outcome(run.status, statusText(run)),
        run.project ?? cwd,
        model_name,
        `${iteration} of ${most}`,
        cost == null ? '' : `$${cost.toFixed(4)}`,
        run.created_at.slice(0, 16).replace('T', ' '),
        ...(isFamily ? [shortId(run.parent_run_id)] : []),
        ...(isLater ? [shortId(run.origin?.run_id)] : []),
        run.title ?? run.goal,
      ]
    },
  )
  if (hasMore && !json) say(`There are more than ${limit}; --limit shows more of them.`)
}

function statusText({ status, doubt, queue_position: place }: RunSummary): string {
  if (place !== undefined) return `${status}, place ${place}`
  return doubt === undefined ? status : `${status}, in doubt`
}

/** `retrai show RUN`: the state of a run. */
export const showCommand = (): Command =>
  serverCommand('show')
    .description('Show the state of a run.')
    .argument('<run>', 'the id of the run')
    .option('--json', 'print the run as JSON')
    .action(connected(show))

async function* show({ client, hint }: Connection, runId: string, { json }: JsonOption): Calls {
  const run = yield* client.runs.get(runId)
  if (json) return printJson(run, 2)
  for (const [name, value] of rowsOf(run)) await print(`${name.padEnd(10)} ${oneLine(value)}`)
  const waiting = run.progress.waiting_for
  if (waiting === null) return
  const { approval } = waiting
  if (run.paused !== undefined) {
    for (const line of pauseHints(hint, run.run_id, run.paused.by)) await print(line)
    return
  }
  const named = approval === undefined ? [] : [shownHash(approval)]
  if (approval !== undefined) for (const line of callLines(approval)) await print(line)
  for (const command of ['approve', approval === undefined ? 'abort' : 'deny']) {
    await print(hint(command, run.run_id, ...named))
  }
}

type Row = readonly [name: string, value: string]

/** What a person looks for; `--json` has all of it. */
function rowsOf(run: RunDetails): Row[] {
  const { progress, final_state } = run
  const cost = dollars(progress.estimated_cost_usd)
  const asked = progress.subagent?.waiting_for
  const rows: (readonly [name: string, value: string | null | undefined])[] = [
    ['run', run.run_id],
    ['status', run.status],
    ['queued', run.queued_reason],
    ['goal', run.goal],
    ['check', run.check?.command],
    ['goals', run.all_of?.map(({ goal, check }) => check?.command ?? goal).join('; ')],
    ['parent', run.parent?.run_id],
    ['begins', run.origin && `from record ${run.origin.seq} of ${run.origin.run_id}`],
    ['reason', final_state?.goal_reason],
    ['ended by', run.end_reason === final_state?.goal_reason ? null : run.end_reason],
    ['but', run.doubt],
    ['summary', run.summary?.text],
    ['error', run.error],
    ['folder', run.cwd],
    ['copy of', run.workspace?.copy_of],
    ['tags', run.tags?.join(', ') || null],
    ['model', run.model_name],
    ['iteration', `${progress.iteration} of at most ${run.max_iterations}`],
    ['tokens', amount(String(progress.total_tokens), run.max_tokens)],
    ['cost', amount(cost, run.max_cost_usd && dollars(run.max_cost_usd))],
    ['stuck', progress.stuck && `${progress.stuck.pattern} for ${progress.stuck.times} turns`],
    ...planLines(progress.plan ?? []).map((line) => ['plan', line] as const),
    ['created', run.created_at],
    ['ended', run.ended_at],
    ['on hold', run.hold?.reason],
    ['seq', String(progress.seq)],
    ['waits for', run.waiting_for && waitText(run.waiting_for)],
    ['waits for', progress.waiting_for?.summary],
    ['asked by', asked && `${asked.run_id}: ${asked.summary}`],
    ...(run.subagents ?? []).map((each) => ['sub-agent', `${each.run_id} ${each.status}`] as const),
  ]
  return rows.flatMap(([name, value]) => (value == null ? [] : [[name, value] as const]))
}

const dollars = (cost: number | null): string => (cost === null ? 'unknown' : `$${cost.toFixed(4)}`)

const amount = (used: string, limit: number | string | null): string =>
  limit === null ? used : `${used} of at most ${limit}`

const HEAD = ['MODEL', 'WINDOW', 'OUTPUT', '$/M IN', '$/M CACHED', '$/M OUT', 'EFFORTS', 'NEEDS']

/** `retrai models`: the models that a run can name. */
export const modelsCommand = (): Command =>
  serverCommand('models')
    .description('List the models that a run can name. The default comes first, with a star.')
    .option(
      '--json',
      'print each model as JSON, one a line, also those that cannot be called, such as those without a key',
    )
    .action(connected(models))

async function* models({ client }: Connection, { json = false }: JsonOption): Calls {
  const all = yield* client.models()
  const shown = all.filter(({ problem }) => json || problem === null)
  if (json || shown.length > 0) await printList(json, HEAD, shown, row)
  const hidden = all.length - shown.length
  if (hidden === 0) return
  say(
    `${counted(hidden, 'more model')} cannot be called, mostly because a key is not set; --json shows them.`,
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

type SearchOptions = JsonOption & {
  readonly run?: string
  readonly kinds?: readonly Kind[]
  readonly limit: number
}

/** `retrai search WORDS…`: what was found, the newest run first. */
export const searchCommand = (): Command =>
  serverCommand('search')
    .description('Search what was said, called, printed and changed, in all runs or in one.')
    .argument(
      '<words...>',
      'words, all of them; one in quotes with blanks is a phrase; the last counts by its beginning',
    )
    .option('--run <run>', 'only in this run')
    .option('--kinds <list>', 'only records of these kinds', someOf(ALL_KINDS))
    .option('--limit <n>', 'the most to show, up to 100', positiveInt, 20)
    .option(...JSON_LINES)
    .action(connected(search))

async function* search(
  { client }: Connection,
  words: readonly string[],
  { run: run_id, kinds, limit, json = false }: SearchOptions,
): Calls {
  const q = words.map((word) => (/^[^"]*\s[^"]*$/.test(word) ? `"${word}"` : word)).join(' ')
  const { results, next, behind } = yield* client.search({ q, run_id, kinds, limit })
  for (const [at, result] of results.entries()) {
    if (json) await printJson(result)
    else for (const line of resultLines(result, results[at - 1]?.run_id)) await print(line)
  }
  if (json) return
  if (results.length === 0) say('Nothing was found.')
  if (next !== null) say(`There is more than ${limit}; more words find less.`)
  if (behind > 0) say(`${counted(behind, 'record')} cannot be found yet.`)
}

/** A result, below the name of its run if the result before is of another one. */
function resultLines({ run_id, title, seq, kind, snippet }: SearchResult, before?: string): Line[] {
  const parts: (string | { readonly text: string; readonly style: 'red' })[] = []
  let end = 0
  for (const [from, to] of snippet.marks) {
    parts.push(snippet.text.slice(end, from), { text: snippet.text.slice(from, to), style: 'red' })
    end = to
  }
  const line = [`  ${seq} `, { text: kind, style: 'dim' } as const, ' ', ...parts]
  const shown: Line = [...line, snippet.text.slice(end)]
  if (run_id === before) return [shown]
  return [[{ text: oneLine(title), style: 'bold' }, ` ${run_id}`], shown]
}
