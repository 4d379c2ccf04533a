import { join } from 'node:path'
import { ok } from 'neverthrow'
import { expect, test, vi } from 'vitest'
import { BackgroundProcesses } from '../../../src/agent/run/background-processes.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import type { ProcessRequest, RunningProcess } from '../../../src/runner/run-command.ts'
import { expectAllDead, pidsIn, startProcess } from '../../runner/support.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../support.ts'

const start = {
  tool: 'process_start',
  args: { command: "trap '' TERM; echo $$ >> pids; echo ready; sleep 1000; :", wait_for: 'ready' },
}
const list = { tool: 'process_read', args: {} }
const config = { max_turns_per_iteration: 50 }

const outputs = (records: readonly RunRecord[]): string[] =>
  payloadsOf(records, 'tool_result').map(({ output }) => output)

test('a process lives from one turn to the next, and ends before the goal is checked', async () => {
  await using shop = await Workshop.open([
    { calls: [start] },
    { calls: [list] },
    { text: 'I think it is done.' },
    { calls: [list, reachGoal] },
    { text: 'Now it is.' },
  ])
  const records = await shop.play(config)
  const [started, alive, ended] = outputs(records)
  expect(started).toMatch(/^ready\n\[process p-\w+ is running\]$/)
  expect(alive).toMatch(/^p-\w+ is running: trap/)
  expect(ended).toMatch(/^p-\w+ was stopped: trap/)
  expect(only(records, 'run_end').payload.achieved).toBe(true)
  await expectAllDead(await pidsIn(join(shop.project, 'pids'), 1))
})

test('a process ends with the server, and the next one says that it is gone', async () => {
  await using shop = await Workshop.open([
    { calls: [start] },
    { calls: [{ tool: 'bash_exec', args: { command: 'sleep 1000' } }] },
    { calls: [{ tool: 'process_read', args: { id: 'p-000000' } }, reachGoal] },
    { text: 'Done.' },
  ])
  let pids: readonly number[] = []
  const inSecondCall = async (runId: string) => {
    const first = await shop.until(runId, 'tool_call')
    await shop.until(runId, 'tool_call', first.length - 1)
    pids = await pidsIn(join(shop.project, 'pids'), 1)
  }
  const records = await shop.restarted(inSecondCall, config, () => expectAllDead(pids))
  expect(outputs(records)).toContainEqual(expect.stringMatching(/There is no process p-000000/))
})

test('what a process did is recorded with the call that started it', async () => {
  const notice = {
    kind: 'network_connection',
    payload: {
      host: 'a.example',
      port: 443,
      allowed: true,
      reason: 'allowed',
      bytes_in: 1,
      bytes_out: 1,
    },
  } as const
  const noting = async (request: ProcessRequest): Promise<RunningProcess> => {
    const started = await startProcess(request)
    request.onNotice?.(notice)
    return started
  }
  await using processes = new BackgroundProcesses()
  const request = { file: 'true', args: [], cwd: '/' }
  await processes.start(noting, request, { callId: 'call-7', command: 'true' })
  const record = vi.fn(async () => ok())
  expect(await processes.notices.record({ record })).toEqual(ok())
  expect(await processes.notices.record({ record })).toEqual(ok())
  const notices = [{ ...notice, payload: { ...notice.payload, call_id: 'call-7' } }]
  expect(record.mock.calls).toEqual([[{ type: 'record_notices', notices }]])
})
