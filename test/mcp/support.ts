import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MCP_DEFAULTS, type McpServer } from '../../src/domain/mcp-servers.ts'
import type { Notice } from '../../src/domain/records.ts'
import { RunServers } from '../../src/mcp/run-servers.ts'
import { type McpConfiguration, NO_SERVERS } from '../../src/mcp/servers.ts'
import type { StartProcess } from '../../src/runner/run-command.ts'
import type { Workshop } from '../agent/support.ts'
import { create, given } from '../domain/support.ts'
import { startProcess, temporaryFolder } from '../runner/support.ts'
import { COMPILE_CACHE } from '../support/build.ts'

export const FIXTURE = fileURLToPath(new URL('./fixture-process.ts', import.meta.url))

/** The fixture as a server that a request brings. */
export const fixture = (how: string, changes: Partial<McpServer> = {}): McpServer => ({
  ...MCP_DEFAULTS,
  name: 'fix',
  source: 'request',
  command: process.execPath,
  args: [FIXTURE, how],
  ...changes,
})

/** Starts programs. All after the first take the code of the fixture from the cache. */
const startCached: StartProcess = (program) =>
  startProcess({ ...program, env: { ...program.env, NODE_COMPILE_CACHE: COMPILE_CACHE } })

/** The effects of an agent whose runs have MCP servers. */
export const withServers = (
  configuration: McpConfiguration = NO_SERVERS,
  start: StartProcess = startCached,
) => ({
  openServers: (onNotice: (notice: Notice) => void) =>
    new RunServers({ configuration, startProcess: start, onNotice }),
})

/** The servers of a run without an agent, and what it would record of the only one. They end with what is returned. */
export async function opened(server: McpServer) {
  const servers = withServers().openServers(() => {})
  const { state } = given(create({ cwd: await temporaryFolder(), mcp_servers: [server] }))
  if (state === null) throw new Error('there is no run')
  const [listing] = await servers.update(state, new AbortController().signal)
  return {
    listing,
    tool: servers.tool,
    [Symbol.asyncDispose]: () => servers[Symbol.asyncDispose](),
  }
}

/** What the fixture has noted, one thing a line. */
export const seenBy = async (shop: Workshop): Promise<string[]> =>
  (await readFile(join(shop.project, 'seen'), 'utf8')).trim().split('\n')
