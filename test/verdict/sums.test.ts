import { describe, expect, test } from 'vitest'
import type { RunConfig } from '../../src/domain/run-config.ts'
import { only, SUBAGENTS, Workshop } from '../agent/support.ts'

const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })
const done = { text: 'Done.' }
const CHEAT = "sed -i 's/= 3/= 0/' tests/add.sh"
const RESTORE = "sed -i 's/= 0/= 3/' tests/add.sh; echo 'echo 3' > add.sh"
const CONFIG: Partial<RunConfig> = {
  shell_goal: { check_command: 'sh tests/add.sh', success_condition: { exit_code: 0 } },
  on_tampering: 'fail',
  max_iterations: 2,
  max_turns_per_iteration: 5,
}
const MODIFIED = [{ path: 'tests/add.sh', change: 'modified' }]

async function project(...script: Parameters<typeof Workshop.open>) {
  const shop = await Workshop.open(...script)
  await shop.file('add.sh', 'echo 0\n')
  await shop.file('tests/add.sh', 'test "$(sh add.sh 1 2)" = 3\n')
  return shop
}

/** The end of a run whose agent is another process after its first call. Meanwhile, something happens. */
async function restarted(shop: Workshop, meanwhile = async () => {}) {
  return only(await shop.restarted('tool_result', CONFIG, meanwhile), 'run_end').payload
}

describe('a run with another process between a change and its check', () => {
  test('is honest if it restores that', async () => {
    await using shop = await project([bash(CHEAT), bash(RESTORE), done])
    expect(await restarted(shop)).toMatchObject({
      status: 'achieved',
      verdict: { original_checks: 'achieved', tampering: [] },
    })
  })

  test('names what a person has changed, too', async () => {
    await using shop = await project([bash("echo 'echo 3' > add.sh"), done])
    const edits = () => shop.file('tests/add.sh', 'test "$(sh add.sh 1 2)" -eq 3\n')
    expect(await restarted(shop, edits)).toMatchObject({
      status: 'failed',
      verdict: { original_checks: 'achieved', tampering: MODIFIED },
    })
  })
})

test('a sub-agent that cheats for its parent is named', async () => {
  const search = { tool: 'run_subagent', args: { instructions: 'Find the word.' } }
  await using shop = await project((request) => {
    const isChild = JSON.stringify(request.messages).includes('# Instructions\\nFind the word.')
    const script = isChild ? [bash(CHEAT)] : [{ calls: [search] }]
    return script[request.turn] ?? done
  })
  const records = await shop.play(CONFIG, { subagents: SUBAGENTS })
  expect(only(records, 'run_end').payload).toMatchObject({
    status: 'failed',
    verdict: { as_is: 'achieved', tampering: MODIFIED },
  })
})

test('a change after a person has approved is named', async () => {
  await using shop = await project([bash('echo > other'), done, bash(CHEAT), done])
  shop.startAgent()
  const runId = await shop.create({ ...CONFIG, hitl_enabled: true })
  const asked = await shop.until(runId, 'human_check_required')
  const seq = asked.length - 1
  await shop.command(runId, { type: 'respond', decision: 'approve', reason: null, answers: seq })
  expect(only(await shop.until(runId, 'run_end'), 'run_end').payload).toMatchObject({
    status: 'failed',
    verdict: { as_is: 'achieved', tampering: MODIFIED },
  })
})
