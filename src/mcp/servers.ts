import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { allows } from '../domain/hosts.ts'
import {
  formProblem,
  MCP_DEFAULTS,
  type McpRequest,
  McpServer,
  McpServerName,
} from '../domain/mcp-servers.ts'
import { withoutPresets } from '../domain/network.ts'
import { present } from '../domain/present.ts'
import { readSettingFile } from '../lib/setting-file.ts'
import type { OwnSecret } from '../masking/mask.ts'
import { isPrivateHost } from '../sandbox/network/public-only.ts'

/** A server that runs may use: what is recorded of it, and what is not. */
type ConfiguredServer = {
  readonly recorded: McpServer
  /** Variables of its program, and headers for its URL, as they are in the file. */
  readonly env: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
}

/** The MCP servers that this server knows. */
export type McpConfiguration = {
  readonly servers: ReadonlyMap<string, ConfiguredServer>
  /** Values of the variables that the file names. */
  readonly variables: ReadonlyMap<string, string>
}

export const NO_SERVERS: McpConfiguration = { servers: new Map(), variables: new Map() }

const SETTING = 'RETRAI_MCP_SERVERS'
const { name: _, source: __, ...shape } = McpServer.unwrap().shape

const fields = {
  ...shape,
  required: shape.required.default(MCP_DEFAULTS.required),
  on_change: shape.on_change.default(MCP_DEFAULTS.on_change),
  trust_hints: shape.trust_hints.default(MCP_DEFAULTS.trust_hints),
  start_timeout_s: shape.start_timeout_s.default(MCP_DEFAULTS.start_timeout_s),
  call_timeout_s: shape.call_timeout_s.default(MCP_DEFAULTS.call_timeout_s),
  type: z.enum(['stdio', 'http'], 'must be stdio or http; sse is not supported').exactOptional(),
  env: z.record(z.string(), z.string()).default({}),
  headers: z
    .record(
      z.string(),
      z.string().regex(/\$\{\w+\}/, 'must name a variable, as in "Bearer $' + '{DOCS_TOKEN}"'),
    )
    .default({}),
}
const Definition = z.strictObject(fields, {
  error: (issue) =>
    issue.code === 'unrecognized_keys'
      ? `has no field ${issue.keys.join(', ')}: the fields are ${Object.keys(fields).join(', ')}`
      : undefined,
})
type Definition = z.infer<typeof Definition>

const ServersFile = z.strictObject(
  { mcpServers: z.record(z.string(), z.unknown()) },
  'must be {"mcpServers": {"name": {"command": …} or {"url": …}}}',
)

/**
 * Reads the file of RETRAI_MCP_SERVERS, such as `{"mcpServers": {"name": {…}}}`. `${NAME}` in it is a variable of this process. The error is a text
 * for people that names every problem.
 */
export async function readServersFile(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Result<McpConfiguration, string>> {
  if (file === undefined) return ok(NO_SERVERS)
  const found = await readSettingFile(SETTING, file, ServersFile)
  if (found.isErr()) return err(found.error)
  const problems: string[] = []
  const servers = new Map<string, ConfiguredServer>()
  const variables = new Map<string, string>()
  for (const [name, given] of Object.entries(found.value.mcpServers)) {
    const add = (message: string, ...path: readonly PropertyKey[]): void => {
      problems.push(`  ${[name, ...path].join('.')}: ${message}`)
    }
    for (const { message } of McpServerName.safeParse(name).error?.issues ?? []) add(message)
    const read = Definition.safeParse(given)
    for (const { message, path } of read.error?.issues ?? []) add(message, ...path)
    if (!read.success) continue
    const problem = misfit(read.data)
    if (problem !== null) add(problem)
    for (const variable of variablesIn(read.data)) {
      const value = env[variable] ?? ''
      if (value === '') add(`the variable ${variable} is not set`)
      variables.set(variable, value)
    }
    servers.set(name, configured(name, read.data))
  }
  if (problems.length === 0) return ok({ servers, variables })
  return err(`${SETTING}: the file ${file} is not valid:\n${problems.join('\n')}`)
}

function misfit(definition: Definition): string | null {
  const problem = formProblem(definition)
  if (problem !== null) return problem
  const { type, url, env, headers, network, private_address } = definition
  const kind = url === undefined ? 'stdio' : 'http'
  if (type !== undefined && type !== kind) return `has the type ${type}, but is ${kind}`
  const belongs = (field: string, to: string) => `has ${field}, which belongs to a ${to}`
  if (url !== undefined) {
    if (!/^https?:\/\/[^/]/.test(url)) return 'must have an http:// or https:// url'
    if (Object.keys(env).length > 0) return belongs('env', 'command')
    return network === undefined ? null : belongs('network', 'command')
  }
  if (Object.keys(headers).length > 0) return belongs('headers', 'url')
  return private_address === undefined ? null : belongs('private_address', 'url')
}

function configured(name: string, definition: Definition): ConfiguredServer {
  const { type: _, env, headers, network, ...rest } = definition
  const reached = network === undefined ? {} : { network: withoutPresets(network, []) }
  return { recorded: { name, source: 'configuration', ...rest, ...reached }, env, headers }
}

const VARIABLE = /\$\{(\w+)\}/g

function variablesIn({ command = '', args = [], url = '', env, headers }: Definition): string[] {
  const texts = [command, ...args, url, ...Object.values(env), ...Object.values(headers)]
  return texts.flatMap((one) => [...one.matchAll(VARIABLE)].map(([, name = '']) => name))
}

/** A text with the values of its variables. */
export const filledIn = (template: string, { variables }: McpConfiguration): string =>
  template.replace(VARIABLE, (whole, name: string) => variables.get(name) ?? whole)

/** The secrets of the configuration, each with the name of its variable. */
export const secretsOfServers = ({ variables }: McpConfiguration): OwnSecret[] =>
  [...variables].map(([name, value]) => ({ name, value }))

/** Whether a run may use the secrets of the configuration: not for another program or address. */
export const isSameServer = (known: McpServer, recorded: McpServer): boolean =>
  JSON.stringify([known.command, known.args, known.url, known.network]) ===
  JSON.stringify([recorded.command, recorded.args, recorded.url, recorded.network])

/** What MCP servers a run may have on this server. */
export type McpRules = {
  readonly configuration: McpConfiguration
  /** The servers that a request may define itself: none, those with commands, or those with URLs too. */
  readonly own: 'none' | 'commands' | 'all'
  /** The most that the network of a run may be; see `RETRAI_NETWORK`. */
  readonly most: 'none' | 'hosts' | 'full' | readonly string[]
}

type Requested = Exclude<McpRequest, string>

/** The servers of a run as they are recorded, or everything that is wrong with the fields of what it asks for. */
export function planServers(requested: readonly McpRequest[], rules: McpRules) {
  const servers: McpServer[] = []
  const problems: { readonly field: string; readonly message: string }[] = []
  for (const [at, one] of requested.entries()) {
    const asked: Requested = typeof one === 'string' ? { name: one } : one
    const isDefined = asked.command !== undefined || asked.url !== undefined
    const planned = isDefined ? ofRequest(asked, rules) : ofConfiguration(asked, rules)
    const isTwice = servers.some(({ name }) => name === asked.name)
    const once = isTwice ? err(`Two servers have the name ${asked.name}. Rename one.`) : planned
    if (once.isOk()) servers.push(once.value)
    else problems.push({ field: `mcp_servers.${at}`, message: once.error })
  }
  return problems.length > 0 ? err(problems) : ok(servers)
}

/** A run may ask for less than the configuration gives, and never for more. */
function ofConfiguration(
  { name, required, on_change, tools, ...rest }: Requested,
  { configuration: { servers } }: McpRules,
): Result<McpServer, string> {
  const known = servers.get(name)?.recorded
  if (known === undefined) {
    const names = [...servers.keys()].join(', ')
    const advice =
      names === '' ? 'It has none: see RETRAI_MCP_SERVERS.' : `Choose one of: ${names}.`
    return err(`This server has no MCP server "${name}". ${advice}`)
  }
  const [field] = Object.keys(rest)
  if (field !== undefined) {
    return err(`${field} of the MCP server ${name} is fixed by the configuration. Leave it out.`)
  }
  if (on_change === 'record' && known.on_change === 'stop') {
    return err(`The configuration of the MCP server ${name} lets no run continue after a change.`)
  }
  const allowed = known.tools
  const beyond = tools?.filter((tool) => allowed !== undefined && !allowed.includes(tool)) ?? []
  if (beyond.length > 0) {
    return err(`The configuration of the MCP server ${name} does not allow ${beyond.join(', ')}.`)
  }
  return ok({ ...known, ...present({ required, on_change, tools }) })
}

/** An MCP server that a request defines gets nothing from the environment of this server. */
function ofRequest(requested: Requested, rules: McpRules): Result<McpServer, string> {
  const { name, url } = requested
  if (rules.configuration.servers.has(name)) {
    return err(`"${name}" is an MCP server of the configuration. Choose another name.`)
  }
  const misfit = formProblem(requested)
  if (misfit !== null) return err(`The MCP server ${name} ${misfit}.`)
  if (rules.own === 'none') {
    return err(
      `This server lets no run bring an MCP server of its own (${name}). Name one of its configuration.`,
    )
  }
  const refused = url === undefined ? null : urlProblem(name, url, rules)
  if (refused !== null) return err(refused)
  return ok({ ...MCP_DEFAULTS, ...requested, source: 'request' })
}

function urlProblem(name: string, url: string, { own, most }: McpRules): string | null {
  if (own !== 'all') {
    return `This server lets no run bring an MCP server with a URL (${name}); RETRAI_MCP_REQUESTS=all would.`
  }
  const parsed = new URL(url)
  const { hostname, port, protocol, username, password } = parsed
  if (username !== '' || password !== '') {
    return `The URL of the MCP server ${name} must hold no user name or password.`
  }
  if (isPrivateHost(parsed)) {
    return `The MCP server ${name} has no address of the public Internet. Only the configuration may name such servers.`
  }
  if (most === 'none') return 'This server lets no run reach a host (RETRAI_NETWORK=none).'
  if (typeof most === 'string') return null
  const host = hostname.replace(/^\[|\]$/g, '')
  const number = Number(port) || (protocol === 'https:' ? 443 : 80)
  return allows(most, host, number)
    ? null
    : `This server lets no run reach ${host}:${number}. RETRAI_NETWORK allows: ${most.join(', ')}.`
}
