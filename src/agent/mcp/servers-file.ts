import { readFile } from 'node:fs/promises'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { OwnSecret } from '../../domain/mask/own-secrets.ts'
import { formProblem, MCP_DEFAULTS, McpServer, McpServerName } from '../../domain/mcp-servers.ts'
import { withoutPresets } from '../../domain/network.ts'
import { messageOf } from '../../lib/message-of.ts'

type Environment = Readonly<Record<string, string | undefined>>

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

const Definition = z.strictObject({
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
})
type Definition = z.infer<typeof Definition>

const ServersFile = z.strictObject({ mcpServers: z.record(z.string(), z.unknown()) })

/**
 * Reads the file of RETRAI_MCP_SERVERS, such as `{"mcpServers": {"name": {…}}}`. `${NAME}` in it is a variable of this process. The error is a text
 * for people that names every problem.
 */
export async function readServersFile(
  file: string | undefined,
  env: Environment,
): Promise<Result<McpConfiguration, string>> {
  if (file === undefined) return ok(NO_SERVERS)
  let content: unknown
  try {
    content = JSON.parse(await readFile(file, 'utf8'))
  } catch (cause) {
    return err(`The file ${file} of ${SETTING} cannot be read: ${messageOf(cause)}`)
  }
  const invalid = (problems: readonly string[]) =>
    err(`The file ${file} of ${SETTING} is not valid:\n${problems.join('\n')}`)
  const parsed = ServersFile.safeParse(content)
  if (!parsed.success) {
    return invalid(['  it must be {"mcpServers": {"name": {"command": …} or {"url": …}}}'])
  }
  const problems: string[] = []
  const servers = new Map<string, ConfiguredServer>()
  const variables = new Map<string, string>()
  for (const [name, given] of Object.entries(parsed.data.mcpServers)) {
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
  return problems.length > 0 ? invalid(problems) : ok({ servers, variables })
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
