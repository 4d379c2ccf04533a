import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { expectAllDead, pidsIn, temporaryFolder } from '../runner/support.ts'
import { Client } from './client.ts'
import { Server } from './server-process.ts'
import { watch } from './watch.ts'

const never = new AbortController().signal

/** A server with one run under way in a project of its own. */
async function runOn(modelUrl: string) {
  const folder = await temporaryFolder()
  const project = join(folder, 'project')
  await mkdir(project)
  await writeFile(join(project, '.retrai.yml'), 'check_command: "false"\n')
  const server = new Server({ dataDir: join(folder, 'data'), modelUrl })
  onTestFinished(async () => {
    server.kill('SIGKILL')
    await server.exit
  })
  const url = await server.url
  if (url === null) throw new Error(server.output)
  const client = new Client(url, never)
  const body = { goal: 'shell-goal', model_name: 'gpt-5-mini', cwd: project }
  const runId = await client.create('abort', body)
  if (runId === null) throw new Error(server.output)
  const abort = () => client.send('POST', `/api/runs/${runId}/abort`, {})
  const records = async (): Promise<RunRecord[]> => {
    const { frames } = await watch(url, runId, { signal: never })
    return frames.map((frame) => JSON.parse(frame))
  }
  return { project, abort, records }
}

async function scripted(script: Script): Promise<string> {
  const model = await startScriptedModel({ script })
  onTestFinished(() => model.close())
  return model.url
}

const TICK_MS = 50

test('an abort ends all processes of a command, and run_end names what the run used', async () => {
  // One process ignores SIGTERM and counts its own time, one has left the process group, and one is their parent.
  const command = `
    (trap "" TERM; sh -c 'echo $PPID >> pids'; while :; do echo tick >> ticks; sleep 0.05; done) &
    setsid bash -c 'trap "" TERM; echo $$ >> pids; sleep 600; :' &
    echo $$ >> pids
    trap "" TERM
    wait; sleep 600; :`
  const usage = { input: 1000, output: 50 }
  const modelUrl = await scripted([
    { usage, calls: [{ tool: 'file_list', args: {} }] },
    { usage, calls: [{ tool: 'bash_exec', args: { command } }] },
  ])
  const { project, abort, records } = await runOn(modelUrl)
  const pids = await pidsIn(join(project, 'pids'), 3)
  const ticks = async () => (await readFile(join(project, 'ticks'), 'utf8')).split('\n').length
  await vi.waitFor(ticks, { timeout: 20_000 })
  const before = await ticks()
  expect(await abort()).toMatchObject({ status: 200 })
  await expectAllDead(pids)
  // Measured in its own time, so a busy machine, which slows down both, makes no difference.
  expect((await ticks()) - before).toBeLessThan(1000 / TICK_MS)
  const all = await records()
  const costs = all.flatMap((r) =>
    r.kind === 'llm_usage' ? [r.payload.cost_usd ?? Number.NaN] : [],
  )
  expect(costs).toHaveLength(2)
  expect(all.at(-1)).toMatchObject({
    kind: 'run_end',
    iteration: 1,
    payload: {
      status: 'aborted',
      iterations: 1,
      total_tokens: 2100,
      estimated_cost_usd: costs.reduce((sum, cost) => sum + cost, 0),
    },
  })
  expect(all.at(-2)).toMatchObject({ kind: 'tool_result', payload: { outcome: 'aborted' } })
})

test('an abort cancels the request to the model', async () => {
  const asked = Promise.withResolvers<void>()
  const cancelled = Promise.withResolvers<void>()
  const model = createServer((request) => {
    request.socket.once('close', cancelled.resolve)
    asked.resolve()
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void model.close())
  await once(model, 'listening')
  const address = model.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { abort, records } = await runOn(`http://127.0.0.1:${address.port}/v1`)
  await asked.promise
  expect(await abort()).toMatchObject({ status: 200 })
  await cancelled.promise
  const end = { kind: 'run_end', payload: { status: 'aborted', iterations: 1, total_tokens: 0 } }
  expect((await records()).at(-1)).toMatchObject(end)
})
