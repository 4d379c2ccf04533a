import * as z from 'zod'
import { asksForGoal, HostPattern, NETWORK_TOOL, type Network } from '../../domain/network.ts'
import { type NetworkRules, widened } from '../network-rules.ts'
import { type DefinedTool, defineTool, failed, succeeded } from './tool.ts'

const MAX_HOSTS = 16

const Wanted = z.strictObject({
  hosts: z
    .array(HostPattern)
    .min(1)
    .max(MAX_HOSTS)
    .refine((allow) => !asksForGoal({ allow }), 'must name hosts, or a registry such as preset:npm')
    .describe(
      'Such as api.example.org, *.example.org or example.org:8443, or preset:npm, preset:pypi, preset:cargo, preset:go or preset:maven',
    ),
  reason: z.string().trim().min(1).max(1_000).describe('What you need them for, for the person'),
})

/** The network that a call asks for; null if there is nothing to ask a person: the run cannot have it, or has it. */
export function networkAskedFor(
  args: unknown,
  network: Network,
  rules: NetworkRules,
): Network | null {
  const wanted = Wanted.safeParse(args)
  return wanted.success ? widened(network, wanted.data.hosts, rules).unwrapOr(null) : null
}

/** A person answers before the call begins, and the answer widens the network of the run. */
export const requestNetwork = (rules: NetworkRules): DefinedTool =>
  defineTool({
    name: NETWORK_TOOL,
    description:
      'Ask a person to let your commands reach more hosts. The run waits for the answer, which can take long: ask only for ' +
      'what you cannot do without, and for all of it at once.',
    readOnly: true,
    args: Wanted,
    touches: () => ({}),
    run: async ({ hosts }, { network }) => {
      const missing = widened(network, hosts, rules)
      if (missing.isErr()) return failed(missing.error)
      return missing.value === null
        ? succeeded('Commands and processes that you start from now on reach these hosts.')
        : failed('No person has allowed these hosts.')
    },
  })
