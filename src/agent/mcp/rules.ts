import { isIP } from 'node:net'
import { err, ok, type Result } from 'neverthrow'
import {
  formProblem,
  MCP_DEFAULTS,
  type McpRequest,
  type McpServer,
} from '../../domain/mcp-servers.ts'
import { allows } from '../../domain/network.ts'
import { present } from '../../domain/present.ts'
import { isPublicAddress } from '../../runner/network/public-address.ts'
import type { Problem } from '../model-problems.ts'
import type { NetworkRules } from '../network-rules.ts'
import type { McpConfiguration } from './servers-file.ts'

/** What MCP servers a run may have on this server. */
export type McpRules = {
  readonly configuration: McpConfiguration
  /** The servers that a request may define itself: none, those with commands, or those with URLs too. */
  readonly own: 'none' | 'commands' | 'all'
  readonly network: Pick<NetworkRules, 'most'>
}

/** What is wrong with one server, and with which of its fields, if it is one. */
type Refusal = { readonly field?: keyof Requested; readonly message: string }

/** The servers of a run as they are recorded, or everything that is wrong with what it asks for. */
export function planServers(
  requested: readonly McpRequest[],
  rules: McpRules,
): Result<readonly McpServer[], readonly Problem[]> {
  const planned = requested.map((one) =>
    typeof one === 'string'
      ? ofConfiguration({ name: one }, rules)
      : one.command === undefined && one.url === undefined
        ? ofConfiguration(one, rules)
        : ofRequest(one, rules),
  )
  const names = requested.map((one) => (typeof one === 'string' ? one : one.name))
  const problems = planned.flatMap((one, at): Problem[] => {
    const field = `mcp_servers.${at}`
    if (one.isErr()) {
      const { field: inner, message } = one.error
      return [{ field: inner === undefined ? field : `${field}.${inner}`, message }]
    }
    const { name } = one.value
    if (names.indexOf(name) === at) return []
    return [{ field, message: `Two servers have the name ${name}. Rename one.` }]
  })
  if (problems.length > 0) return err(problems)
  return ok(planned.flatMap((one) => (one.isOk() ? [one.value] : [])))
}

type Requested = Exclude<McpRequest, string>

const refuse = (message: string, field?: keyof Requested): Result<never, Refusal> =>
  err({ message, ...present({ field }) })

/** A run may ask for less than the configuration gives, and never for more. */
function ofConfiguration(
  { name, required, on_change, tools, ...rest }: Requested,
  { configuration: { servers } }: McpRules,
): Result<McpServer, Refusal> {
  const known = servers.get(name)?.recorded
  if (known === undefined) {
    const names = [...servers.keys()].join(', ')
    const advice =
      names === '' ? 'It has none: see RETRAI_MCP_SERVERS.' : `Choose one of: ${names}.`
    return refuse(`This server has no MCP server "${name}". ${advice}`)
  }
  const [field] = Object.keys(rest)
  if (field !== undefined) {
    return refuse(`${field} of the MCP server ${name} is fixed by the configuration. Leave it out.`)
  }
  if (on_change === 'record' && known.on_change === 'stop') {
    return refuse(
      `The configuration of the MCP server ${name} lets no run continue after a change.`,
    )
  }
  const allowed = known.tools
  const beyond = tools?.filter((tool) => allowed !== undefined && !allowed.includes(tool)) ?? []
  if (beyond.length > 0) {
    return refuse(
      `The configuration of the MCP server ${name} does not allow ${beyond.join(', ')}.`,
      'tools',
    )
  }
  return ok({ ...known, ...present({ required, on_change, tools }) })
}

/** An MCP server that a request defines gets nothing from the environment of this server. */
function ofRequest(requested: Requested, rules: McpRules): Result<McpServer, Refusal> {
  const { name, url } = requested
  if (rules.configuration.servers.has(name)) {
    return refuse(`"${name}" is an MCP server of the configuration. Choose another name.`, 'name')
  }
  const misfit = formProblem(requested)
  if (misfit !== null) return refuse(`The MCP server ${name} ${misfit}.`)
  const field = url === undefined ? 'command' : 'url'
  const refused = url === undefined ? commandProblem(name, rules) : urlProblem(name, url, rules)
  if (refused !== null) return refuse(refused, field)
  return ok({ ...MCP_DEFAULTS, ...requested, source: 'request' })
}

const SETTING = 'RETRAI_MCP_REQUESTS'

function commandProblem(name: string, { own }: McpRules): string | null {
  if (own !== 'none') return null
  return `This server lets no run bring an MCP server of its own (${name}). Name one of its configuration.`
}

function urlProblem(name: string, url: string, { own, network }: McpRules): string | null {
  if (own !== 'all') {
    return `This server lets no run bring an MCP server with a URL (${name}); ${SETTING}=all would.`
  }
  const { hostname, port, protocol, username, password } = new URL(url)
  if (username !== '' || password !== '') {
    return `The URL of the MCP server ${name} must hold no user name or password.`
  }
  const host = hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0 && !isPublicAddress(host)) {
    return `The MCP server ${name} has no address of the public Internet. Only the configuration may name such servers.`
  }
  const { most } = network
  if (most === 'none') return 'This server lets no run reach a host (RETRAI_NETWORK=none).'
  if (typeof most === 'string') return null
  const number = Number(port) || (protocol === 'https:' ? 443 : 80)
  return allows(most, host, number)
    ? null
    : `This server lets no run reach ${host}:${number}. RETRAI_NETWORK allows: ${most.join(', ')}.`
}
