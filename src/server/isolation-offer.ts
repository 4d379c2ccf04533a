import { type NetworkRules, networkProblem } from '../agent/network-rules.ts'
import type { IsolationOffer } from '../api/isolation.ts'
import { isAtLeast, type Level } from '../domain/isolation.ts'
import type { CommandLimits } from '../runner/command.ts'
import { type Isolation, levelsOn } from '../runner/isolation/isolation.ts'
import { mostOf } from '../runner/isolation/run-policy.ts'

/** Any host, to find out whether a run may name hosts. */
const SOME_HOST = 'example.org'

/** What a run may ask for on this server. A stricter level than its own is tried when this is first called. */
export async function isolationOffer(
  isolation: Pick<Isolation, 'level' | 'detail' | 'atLeast'>,
  rules: NetworkRules,
  limits: CommandLimits,
): Promise<IsolationOffer> {
  const { level: own, detail } = isolation
  const hosts = typeof rules.most === 'string' ? null : rules.most
  const offered = async (level: Level) => {
    const kept = await isolation.atLeast(level)
    const at = { ...rules, level }
    const named = { allow: hosts ?? [SOME_HOST] }
    return {
      level,
      problem: kept.match(
        () => null,
        (why) => why,
      ),
      hosts_problem: networkProblem(named, undefined, at),
      full_problem: networkProblem('full', undefined, at),
    }
  }
  const possible =
    own === null ? [] : levelsOn(process.platform).filter((level) => isAtLeast(level, own))
  const levels = await Promise.all(possible.map(offered))
  return { level: own, detail, levels, hosts, limits: mostOf(limits) }
}
