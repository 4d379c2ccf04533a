import { stat } from 'node:fs/promises'
import { sep } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import type { Goal } from '../../checks/goal.ts'
import { beyond } from '../../domain/hosts.ts'
import { hasSockets, type IsolationPolicy } from '../../domain/isolation.ts'
import { asksForGoal, Network, withoutPresets } from '../../domain/network.ts'
import type { ConfigChanges, RunConfig } from '../../domain/run-config.ts'
import { codeOf } from '../../lib/message-of.ts'
import { isWithin, realPathOf } from '../../lib/paths.ts'
import { maskPayload } from '../../masking/mask.ts'
import { processMask } from '../../masking/process-mask.ts'
import type { ModelCatalogue, ModelInfo } from '../../models/catalogue.ts'

/** A problem with one field of a request, for its author. */
export type Problem = {
  readonly field: string
  readonly message: string
  /** Set if it is not the request that is wrong: the same one may succeed in a moment. */
  readonly isPassing?: true
}

/** What the checks must know of models. */
export type ModelRules = Pick<ModelCatalogue, 'about'>

/** The part of a configuration that depends on its models. */
type Choice = Pick<
  RunConfig,
  'model_name' | 'max_cost_usd' | 'reasoning_effort' | 'max_output_tokens' | 'fallback_models'
>

/** Everything that would keep the models of a run from working, or its limits from being kept. */
export async function modelProblems(choice: Choice, models: ModelRules): Promise<Problem[]> {
  const fallbacks = choice.fallback_models ?? []
  const found: Problem[] = twice([choice.model_name, ...fallbacks])
  for (const [at, name] of [choice.model_name, ...fallbacks].entries()) {
    const info = await models.about(name)
    const field = at === 0 ? 'model_name' : 'fallback_models'
    if (info.problem === null) found.push(...settingProblems(info, choice))
    else found.push({ field, message: `The model "${name}" ${info.problem}` })
  }
  return found
}

const OF_MODELS = ['model_name', 'reasoning_effort', 'max_output_tokens', 'fallback_models']

export const CEILED = ['max_cost_usd', 'max_tokens', 'max_seconds'] as const
/** The limits of this server for any run; null is no limit. */
export type Ceilings = Pick<RunConfig, (typeof CEILED)[number]>

/** Limits above those of the server. */
export const tooHigh = (limits: Partial<Ceilings>, ceilings: Ceilings): Problem[] =>
  CEILED.flatMap((field) => {
    const { [field]: limit } = limits
    const ceiling = ceilings[field] ?? Number.POSITIVE_INFINITY
    if (limit === undefined || (limit ?? Number.POSITIVE_INFINITY) <= ceiling) return []
    return [{ field, message: `${field} must be at most ${ceiling}, the limit of this server.` }]
  })

/** What is wrong with the configuration of a run after a change. */
export async function changeProblems(
  changes: ConfigChanges,
  config: RunConfig,
  { models, ceilings }: { readonly models: ModelRules; readonly ceilings: Ceilings },
): Promise<readonly Problem[]> {
  const high = [...tooHigh(changes, ceilings), ...secretProblems(changes)]
  const ofModels = OF_MODELS.some((field) => field in changes)
  // The rest can be changed even if the key of the model was removed meanwhile.
  if (!ofModels && changes.max_cost_usd == null) return high
  const found = await modelProblems({ ...config, ...changes }, models)
  return [...high, ...found.filter(({ field }) => ofModels || field === 'max_cost_usd')]
}

/** What a run works from. */
const WORKED_FROM = [
  'cwd',
  'model_name',
  'fallback_models',
  'mcp_servers',
  'shell_goal',
  'all_of',
  'approvals',
  'protect',
] as const

/** A run works from its masked records, so it must not need a secret in them. The messages quote the masked form. */
export function secretProblems(config: Partial<RunConfig>): Problem[] {
  const masked = maskPayload(config, processMask.text)
  return WORKED_FROM.filter((field) => masked[field] !== config[field]).map((field) => {
    const name = field === 'shell_goal' ? 'The check' : field
    const message = `${name} contains a secret, which the log does not store: ${JSON.stringify(masked[field])}. Put it where the project can read it, such as in a file or a script.`
    return { field: field === 'shell_goal' ? 'goal' : field, message }
  })
}

function twice(names: readonly string[]): Problem[] {
  const repeated = names.find((name, at) => names.indexOf(name) !== at)
  if (repeated === undefined) return []
  const message = `fallback_models names "${repeated}", which the run has already. Name other models.`
  return [{ field: 'fallback_models', message }]
}

/** Settings that a model cannot have. */
function settingProblems(
  { name, prices, efforts, maxOutputTokens: most }: ModelInfo,
  { max_cost_usd, reasoning_effort = null, max_output_tokens = null }: Choice,
): Problem[] {
  const found: Problem[] = []
  if (max_cost_usd !== null && prices === null) {
    const message = `The price of "${name}" is not known, so max_cost_usd cannot be kept. Add the price to the file RETRAI_PRICES of the server, limit the run with max_tokens, or choose another model.`
    found.push({ field: 'max_cost_usd', message })
  }
  if (reasoning_effort !== null && efforts !== null && !efforts.includes(reasoning_effort)) {
    const choice =
      efforts.length === 0
        ? 'Leave it out.'
        : `Choose one of ${efforts.join(', ')}, or leave it out.`
    const message = `The model "${name}" has no reasoning_effort "${reasoning_effort}". ${choice}`
    found.push({ field: 'reasoning_effort', message })
  }
  if (max_output_tokens !== null && most !== null && max_output_tokens > most) {
    const message = `max_output_tokens must be at most ${most}, the limit of the model "${name}".`
    found.push({ field: 'max_output_tokens', message })
  }
  return found
}

/** What network a run may have on this server. */
export type NetworkRules = {
  /** The most that a run may ask for: nothing, the hosts of a list (without presets), any list of hosts, or everything. */
  readonly most: 'none' | 'hosts' | 'full' | readonly string[]
  /** How commands are isolated; null if they are refused. */
  readonly level: IsolationPolicy['level'] | null
  /** Why `full` is not possible here, as a sentence for people; null if it is. */
  readonly fullProblem: string | null
}

const SETTING = 'RETRAI_NETWORK'

/** Whether a person may give runs more hosts on this server. */
export const mayWiden = ({ most, level }: NetworkRules): boolean =>
  most !== 'none' && level === 'namespaces'

/** The network of a run with more hosts; null if it has them. The error says why it cannot have them, for the model. */
export function widened(
  network: Network,
  hosts: readonly string[],
  rules: NetworkRules,
): Result<Network | null, string> {
  const had = typeof network === 'string' ? [] : network.allow
  const wanted = withoutPresets({ allow: hosts }, [])
  if (typeof wanted === 'string' || network === 'full' || beyond(wanted.allow, had).length === 0) {
    return ok(null)
  }
  const all = Network.safeParse({ allow: [...new Set([...had, ...wanted.allow])] })
  if (!all.success) return err('That would be more hosts than a run can have.')
  const problem = networkProblem(wanted, undefined, rules)
  return problem === null ? ok(all.data) : err(problem)
}

/** Why a run cannot have the network that it asks for, as sentences for its author; null if it can. */
export function networkProblem(
  network: Network | undefined,
  goal: Pick<Goal, 'name' | 'registries'> | undefined,
  { most, level, fullProblem }: NetworkRules,
): string | null {
  if (network === undefined) return null
  const registries = goal?.registries ?? []
  if (level === 'none' || (network !== 'none' && level !== null && !hasSockets(level))) {
    return `The server isolates commands at the level ${level}, where a run cannot choose its network. Leave network out, or start the server at the level namespaces (with bubblewrap).`
  }
  if (network === 'none' || level === null) return null
  if (network === 'full') {
    if (most !== 'full') {
      return `This server lets no run have the whole network. Name hosts, or start it with ${SETTING}=full.`
    }
    return fullProblem
  }
  if (most === 'none') {
    return `This server lets no run have a network (${SETTING}=none).`
  }
  if (goal !== undefined && registries.length === 0 && asksForGoal(network)) {
    return `The goal ${goal.name} has no registries of its own. Name hosts or other presets.`
  }
  if (typeof most === 'string') return null
  const wanted = withoutPresets(network, registries)
  const over = typeof wanted === 'string' ? [] : beyond(wanted.allow, most)
  if (over.length === 0) return null
  return `This server lets no run reach ${over.join(', ')}. ${SETTING} allows: ${most.join(', ')}.`
}

/**
 * Why a run may not work in a folder: the server's data folder is inside it or around it, so the run could read the
 * keys and change the log. A sentence with advice; null if the folders are separate, wherever links lead.
 */
export function dataFolderProblem(cwd: string, dataDir: string | null): string | null {
  if (dataDir === null) return null
  const [project, data] = [realPathOf(cwd), realPathOf(dataDir)]
  if (isWithin(project, data)) {
    return (
      `${cwd} contains the server's data folder, so a run there could read its keys and change its log. Stop the ` +
      `server, move ${dataDir} to a place outside of every project, and start the server with --data-dir (RETRAI_DATA_DIR) set to that place.`
    )
  }
  if (!isWithin(data, project)) return null
  return `${cwd} is in the server's data folder ${dataDir}. Choose a folder outside of it.`
}

/** Why a folder cannot be the project of a run. */
export async function folderProblems(cwd: string, dataDir: string | null): Promise<Problem[]> {
  const about = (message: string) => [{ field: 'cwd', message }]
  const problem = await folderProblem(cwd)
  if (problem !== null) return about(`${cwd} ${problem}. Name an existing directory.`)
  const names = realPathOf(cwd).toLowerCase().split(sep)
  if (names.includes('.git')) {
    return about(`${cwd} is in a folder .git, which git obeys. Name the project's folder.`)
  }
  const clash = dataFolderProblem(cwd, dataDir)
  return clash === null ? [] : about(clash)
}

/** Why a path is no folder that can be used, as a part of a sentence; null if it is one. */
export async function folderProblem(path: string): Promise<string | null> {
  try {
    return (await stat(path)).isDirectory() ? null : 'is not a directory'
  } catch (cause) {
    return codeOf(cause) === 'ENOENT' ? 'does not exist' : `cannot be opened (${codeOf(cause)})`
  }
}
