import { join, relative, resolve } from 'node:path'
import { SETTINGS_FILE } from '../../checks/retrai-yml.ts'
import { type CallFacts, judge, type Touches, type Verdict } from '../../domain/approvals/rules.ts'
import { NETWORK_TOOL, type Network } from '../../domain/network.ts'
import { present } from '../../domain/present.ts'
import type { RequestedCall } from '../../domain/records.ts'
import { isWithin, realPathOf } from '../../lib/paths.ts'
import { shellWord } from '../../lib/text.ts'
import type { CallContext, Declared, DefinedTool } from '../tools/tool.ts'
import type { Work } from './effects.ts'

const ALLOWED: Verdict = { action: 'allow', rule: null, doubt: null }

/**
 * What the rules of a run say of a call, and the network that it asks a person for.
 * @param call as the model wrote it; null if only its masked form is known, so that it cannot run
 */
export async function reviewCall(
  call: RequestedCall | null,
  { session, effects, files: workspace, servers }: Work,
): Promise<{ readonly verdict: Verdict; readonly network?: Network }> {
  const { approvals, config, total, shellFolder } = session.state
  const asks = approvals !== undefined || call?.tool === NETWORK_TOOL
  const isExcluded = call !== null && config.tools?.exclude?.includes(call.tool) === true
  if (call === null || !asks || isExcluded) return { verdict: ALLOWED }
  const { cwd, network: had } = config
  const place = { cwd, workspace, ...present({ shellFolder, network: had }) }
  const root = await session.root()
  const run = root === undefined ? place : { ...place, root }
  const facts = await factsOf(call, effects.toolbox.find(call.tool, servers.tool), run)
  if (facts === null) return { verdict: ALLOWED }
  const { approvedCostUsd = 0, ...rules } = approvals ?? { run: [], server: [], lifted: [] }
  const known = total.costUsd !== null && approvedCostUsd !== null
  const costUsd: CallFacts['costUsd'] = known ? total.costUsd - approvedCostUsd : null
  const { network, ...others } = facts
  return { verdict: judge({ ...others, costUsd }, rules), ...present({ network }) }
}

/** The run of a call that is reviewed. */
type CallingRun = Pick<CallContext, 'cwd' | 'workspace'> & {
  readonly shellFolder?: string
  readonly network?: Network
  /** The project of the run that a person started, if this is the run of a sub-agent. Null if that is not known. */
  readonly root?: string | null
}

/**
 * What rules are compared with; null if the call will do nothing, such as one whose arguments are not valid. `network`: what the
 * run reaches if a person allows the call, for a call that asks for that.
 */
export async function factsOf(
  call: RequestedCall,
  tool: DefinedTool | undefined,
  run: CallingRun,
): Promise<(Pick<CallFacts, 'tool' | 'touches'> & { readonly network?: Network }) | null> {
  const { tool: name, raw_args } = call
  // A server that gives no run more network has no tool that asks for it.
  if (tool === undefined) return name === NETWORK_TOOL ? null : { tool: name, touches: null }
  const prepared = raw_args === undefined ? tool.prepare(call.args) : null
  if (!prepared?.isOk()) return null
  const { asksFor, ...touched } = prepared.value.touches
  if (asksFor === undefined) return { tool: name, touches: await resolved(touched, run) }
  const network = asksFor(run.network ?? 'none')
  return network && { tool: name, touches: {}, network }
}

/**
 * All names are from the project of the run that a person started, because its rules are. Null if that is not known, or if
 * nobody can say where links lead, so no rule can allow the call.
 */
async function resolved(
  declared: Omit<Declared, 'asksFor'>,
  run: CallingRun,
): Promise<Touches | null> {
  const { paths = [], trees = [], commands = [], obeysSettings = false, ...rest } = declared
  const { startsIn = '.', ...touched } = rest
  const above = folderInFamily(run)
  const folder = startsIn ?? run.shellFolder ?? '.'
  const starts = commands.length === 0 ? [] : [folder]
  const settings = obeysSettings ? [join(folder, SETTINGS_FILE)] : []
  const found = await placesOf([...paths, ...trees, ...starts, ...settings], run)
  if (above === null || found === null) return null
  const next = (names: readonly string[]) =>
    found.splice(0, names.length).map(({ names }) => names.map((name) => join(above, name)))
  const ofPaths = next(paths)
  const ofTrees = next(trees)
  const ofStarts = next(starts)
  const elsewhere = ofStarts.flat().filter((name) => name !== '.')
  const others = elsewhere.map((name) => `cd ${shellWord(name)}`)
  const isTold = found.some(({ mayExist }) => mayExist)
  return {
    ...touched,
    paths: ofPaths,
    trees: ofTrees,
    commands: [...others, ...commands, ...(isTold ? [null] : [])],
  }
}

/** The project of a run, as a path from that of the run that a person started. Null if it is not in there. */
function folderInFamily({ cwd, root }: CallingRun): string | null {
  if (root === undefined) return ''
  if (root === null) return null
  const [top, own] = [realPathOf(root), realPathOf(cwd)]
  return isWithin(top, own) ? relative(top, own) : null
}

/** Each path as it is written and, if links lead elsewhere, where it leads: both from the project. */
async function placesOf(paths: readonly string[], { cwd, workspace }: CallingRun) {
  if (paths.length === 0) return []
  const found = await workspace.ask('resolve', { paths })
  if (found.isErr()) return null
  return paths.map((path, at) => {
    const written = relative(resolve(cwd), resolve(cwd, path)) || '.'
    const place = found.value.places[at]
    if (place === undefined || 'problem' in place) return { names: [written], mayExist: true }
    const names = place.shown === written ? [written] : [written, place.shown]
    return { names, mayExist: place.kind !== 'nothing' }
  })
}
