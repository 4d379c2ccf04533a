import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { createArtifacts } from '../../src/artifacts/artifacts.ts'
import { MCP_DEFAULTS, type McpServer } from '../../src/domain/mcp-servers.ts'
import type { Notice } from '../../src/domain/records.ts'
import { RunServers } from '../../src/mcp/run-servers.ts'
import { type McpConfiguration, NO_SERVERS } from '../../src/mcp/servers.ts'
import { runCommand, type StartProcess } from '../../src/runner/run-command.ts'
import type { Workshop } from '../agent/support.ts'
import { startProcess } from '../runner/support.ts'

export const FIXTURE = fileURLToPath(new URL('./fixture-process.ts', import.meta.url))

/** The fixture as a server that a request brings. */
export const fixture = (how: string, changes: Partial<McpServer> = {}): McpServer => ({
  ...{ ...MCP_DEFAULTS, name: 'fix', source: 'request' },
  ...{ command: process.execPath, args: [FIXTURE, how], ...changes },
})

/** The effects of an agent whose runs have MCP servers. */
export function withServers(
  shop: Workshop,
  configuration: McpConfiguration = NO_SERVERS,
  start: StartProcess = startProcess,
) {
  const artifacts = createArtifacts(join(shop.folder, 'artifacts'))
  const toolbox = createToolbox({ runCommand, artifacts })
  const openServers = (onNotice: (notice: Notice) => void) =>
    new RunServers({ configuration, startProcess: start, onNotice })
  return { openServers, toolbox }
}

/** What the fixture has noted, one thing a line. */
export const seenBy = async (shop: Workshop): Promise<string[]> =>
  (await readFile(join(shop.project, 'seen'), 'utf8')).trim().split('\n')
