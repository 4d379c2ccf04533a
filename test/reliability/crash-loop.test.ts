import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { createClient } from '../../src/client/index.ts'
import { Server } from '../chaos/server-process.ts'
import { PATIENCE_MS } from '../support/within.ts'
import { until } from './support.ts'

/** Begins and never ends, so a server always dies during it. */
const CHECK = `
check_command: echo begun >> checks; exec sleep 600
success_condition: { exit_code: 0 }
`

async function checksIn(project: string): Promise<number> {
  const text = await readFile(join(project, 'checks'), 'utf8').catch(() => '')
  return text.split('\n').length - 1
}

const untilChecks = (project: string, count: number): Promise<number> =>
  until(
    () => checksIn(project),
    (checks) => checks >= count,
  )

test('a check that ran in three crashes is not repeated; stops do not count', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-crash-loop-'))
  const project = join(folder, 'project')
  const dataDir = join(folder, 'data')
  await mkdir(project)
  await writeFile(join(project, '.retrai.yml'), CHECK)
  const model = await startScriptedModel({ script: [{ text: 'Done.' }] })
  const start = () => new Server({ dataDir, modelUrl: model.url })
  const clientOf = async (server: Server) => {
    const url = await server.url
    if (url === null) throw new Error(server.output)
    return createClient({ baseUrl: url })
  }
  let server = start()
  try {
    const request = { goal: 'shell-goal', cwd: project, model_name: 'scripted' }
    const run = (await (await clientOf(server)).runs.create(request))._unsafeUnwrap()
    const ends = ['SIGTERM', 'SIGKILL', 'SIGTERM', 'SIGKILL', 'SIGKILL'] as const
    for (const [n, signal] of ends.entries()) {
      await untilChecks(project, n + 1)
      server.kill(signal)
      await server.exit
      server = start()
    }
    const client = await clientOf(server)
    const kinds: string[] = []
    const signal = AbortSignal.timeout(PATIENCE_MS)
    for await (const { kind } of client.watch(run.run_id, { kinds: 'all', signal }))
      kinds.push(kind)
    expect(kinds.slice(-2)).toEqual(['run_claimed', 'run_end'])
    expect((await client.runs.get(run.run_id))._unsafeUnwrap()).toMatchObject({
      status: 'failed',
      end_reason: expect.stringContaining('crashed 3 times while the goal was checked'),
    })
    expect(await checksIn(project)).toBe(ends.length)
  } finally {
    server.kill('SIGKILL')
    await server.exit
    await model.close()
    await rm(folder, { recursive: true, force: true })
  }
}, 240_000)
