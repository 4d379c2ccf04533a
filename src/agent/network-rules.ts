import { err, ok, type Result } from 'neverthrow'
import { hasSockets, type IsolationPolicy } from '../domain/isolation.ts'
import { asksForGoal, beyond, Network, withoutPresets } from '../domain/network.ts'
import type { Goal } from './goals/goal.ts'

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
  if (level === 'none') {
    return (
      `The server isolates commands at the level ${level}, where they use the server's network, whatever a run asks for. ` +
      'Leave network out, or start the server at the level namespaces.'
    )
  }
  if (network === 'none' || level === null) return null
  if (!hasSockets(level)) {
    return (
      `The server isolates commands at the level ${level}, which gives them no network. Leave network out, or ` +
      'install bubblewrap and start the server again.'
    )
  }
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
