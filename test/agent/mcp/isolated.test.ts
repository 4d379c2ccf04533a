import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readServersFile } from '../../../src/agent/mcp/servers-file.ts'
import { chooseIsolation } from '../../../src/runner/isolation/isolation.ts'
import { Runner } from '../../../src/runner/runner.ts'
import { isMissing } from '../../support/missing.ts'
import { reachGoal, Workshop } from '../support.ts'
import { FIXTURE, withServers } from './support.ts'

test.skipIf(isMissing('bwrap'))(
  'a program is isolated like a command: it sees its own variables and the project, and nothing of the server',
  async () => {
    const base = await mkdtemp(join(tmpdir(), 'retrai-mcp-'))
    onTestFinished(() => rm(base, { recursive: true }))
    const dataDir = join(base, 'data')
    await mkdir(dataDir)
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
    const runner = new Runner({ info: () => {}, error: () => {} })
    onTestFinished(() => runner.close())
    const toolPaths = [process.execPath, dirname(FIXTURE)]
    const isolation = await chooseIsolation('namespaces', {
      ...{ runner, dataDir, env: process.env, toolPaths },
    })
    shop.startAgent([], withServers(shop, configuration, isolation))
    const servers = [...configuration.servers.values()].map(({ recorded }) => recorded)
    const runId = await shop.create({ max_turns_per_iteration: 20, mcp_servers: servers })
    const records = await shop.until(runId, 'run_end')
    const outputs = records.flatMap(({ kind, payload }) =>
      kind === 'tool_result' ? [payload.output] : [],
    )
    expect(outputs.slice(0, 3)).toEqual(['It is only-for-it', 'It is not there.', 'It is there.'])
  },
)
