import * as z from 'zod'
import { portOf } from './hosts.ts'

/** Hosts of package registries, which a run may allow by the name of the preset. */
const PRESETS = {
  npm: ['registry.npmjs.org', 'registry.yarnpkg.com'],
  pypi: ['pypi.org', 'files.pythonhosted.org'],
  cargo: ['index.crates.io', 'static.crates.io', 'crates.io'],
  go: ['proxy.golang.org', 'sum.golang.org'],
  maven: ['repo.maven.apache.org', 'repo1.maven.org', 'plugins.gradle.org'],
} as const satisfies Readonly<Record<string, readonly string[]>>
export type Preset = keyof typeof PRESETS

/** The tool with which an agent asks a person for more hosts. */
export const NETWORK_TOOL = 'request_network'

/** Means the presets of the goal of a run. */
const GOAL_PRESET = 'goal'
const PRESET = new RegExp(`^preset:(?:${[...Object.keys(PRESETS), GOAL_PRESET].join('|')})$`)

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?'
const HOST = new RegExp(`^(?:\\*\\.)?${LABEL}(?:\\.${LABEL})+(?::[1-9][0-9]{0,4})?$`)
/** The top-level domain of a name has a letter, and that of an address has none. */
const ADDRESS = /(?:^|\.)(?:\d+|0x[0-9a-f]*)(?::\d+)?$/
const MAX_HOSTS = 64

export const HostPattern = z
  .string()
  .max(260)
  .refine(
    (text) => PRESET.test(text) || (HOST.test(text) && !ADDRESS.test(text) && portOf(text) < 65536),
    'must be the name of a host in lower case, such as pypi.org, *.pythonhosted.org or example.org:8443, ' +
      `or one of ${[...Object.keys(PRESETS), GOAL_PRESET].map((name) => `preset:${name}`).join(', ')}`,
  )

/**
 * What the commands of a run reach: nothing, everything except the machine of the server, or some hosts through a proxy.
 * In a record, presets are replaced by their hosts.
 */
export const Network = z.union(
  [
    z.enum(['none', 'full']),
    z
      .strictObject({
        allow: z.array(HostPattern).min(1, 'must name at least one host').max(MAX_HOSTS).readonly(),
      })
      .readonly(),
  ],
  'must be "none", "full" or {"allow": […]} with names of hosts',
)
export type Network = z.infer<typeof Network>

/** The network with hosts instead of presets. `goal` are the presets of the goal of the run. */
export function withoutPresets(network: Network, goal: readonly Preset[]): Network {
  if (typeof network === 'string') return network
  const hosts = network.allow.flatMap((entry): readonly string[] => {
    if (!entry.startsWith('preset:')) return [entry]
    const name = entry.slice('preset:'.length)
    return (name === GOAL_PRESET ? goal : [name as Preset]).flatMap((preset) => PRESETS[preset])
  })
  return { allow: [...new Set(hosts)] }
}

/** Whether a run asks for the registries of its goal. */
export const asksForGoal = (network: Network): boolean =>
  typeof network !== 'string' && network.allow.includes(`preset:${GOAL_PRESET}`)
