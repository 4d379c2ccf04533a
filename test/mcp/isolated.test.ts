import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { readServersFile } from '../../src/mcp/servers.ts'
import { payloadsOf, reachGoal, Workshop } from '../agent/support.ts'
import { isolated } from '../runner/support.ts'
import { isMissing } from '../support/missing.ts'
import { FIXTURE, withServers } from './support.ts'

test.skipIf(isMissing('bwrap'))(
  'a program is isolated like a command: it sees its own variables and the project, and nothing of the server',
  async () => {
    const toolPaths = [process.execPath, dirname(FIXTURE)]
    const { base, dataDir, start } = await isolated('namespaces', { toolPaths })
    await writeFile(join(dataDir, 'key'), 'secret')
    const sees = (word: string) => ({ calls: [{ tool: 'mcp__fix__sees', args: { word } }] })
    await using shop = await Workshop.open([
      { calls: [{ tool: 'mcp__fix__secret', args: {} }] },
      sees(join(dataDir, 'key')),
      sees('.'),
      { calls: [reachGoal] },
    ])
    const env = { FIXTURE_TOKEN: '$' + '{THE_TOKEN}' }
    const fix = { command: process.execPath, args: [FIXTURE, 'good'], env }
    await writeFile(join(base, 'mcp.json'), JSON.stringify({ mcpServers: { fix } }))
    const read = await readServersFile(join(base, 'mcp.json'), { THE_TOKEN: 'only-for-it' })
    const configuration = read._unsafeUnwrap()
    shop.startAgent({ effects: withServers(configuration, start) })
    const servers = [...configuration.servers.values()].map(({ recorded }) => recorded)
    const runId = await shop.create({ max_turns_per_iteration: 20, mcp_servers: servers })
    const records = await shop.until(runId, 'run_end')
    const outputs = payloadsOf(records, 'tool_result').map(({ output }) => output)
    expect(outputs.slice(0, 3)).toEqual(['It is only-for-it', 'It is not there.', 'It is there.'])
  },
)
