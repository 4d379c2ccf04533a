import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { AgentCommand } from '../../src/domain/commands.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { only, Workshop } from './support.ts'

type Report<C = AgentCommand> = C extends AgentCommand
  ? Omit<C, 'claimant' | 'readOnlyTools'>
  : never

/** A run whose check was interrupted by a crash; the process that repeated it has crashed, too. */
async function suspect(shop: Workshop): Promise<string> {
  const runId = await shop.create({ max_iterations: 1 })
  const claim = { type: 'claim', pid: 1, host: 'elsewhere' } as const
  const usage = { input_tokens: 1, output_tokens: 1, cost_usd: 0, model_name: 'scripted' }
  const steps: [claimant: string, report: Report][] = [
    ['a', { ...claim, expected: null }],
    [
      'a',
      {
        type: 'record_reply',
        usage: { ...usage, duration_ms: 1, omitted_turns: 0 },
        message: { text: 'Done.', tool_calls: [], finish_reason: 'stop' },
      },
    ],
    ['b', { ...claim, expected: 'a', afterCrash: true }],
  ]
  for (const [claimant, report] of steps) {
    const command = { ...report, claimant, readOnlyTools: new Set() } as AgentCommand
    const options = { author: { commandId: randomUUID() }, now: () => Date.now() / 1000 }
    ;(await handleCommand(shop.store, runId, command, options))._unsafeUnwrap()
  }
  return runId
}

test('runs that were interrupted by two crashes are taken up one at a time, to find the cause', async () => {
  await using shop = await Workshop.open([])
  const suspects = [await suspect(shop), await suspect(shop), await suspect(shop)]
  let begun = 0
  let atOnce = 0
  const check = async () => {
    atOnce += 1
    expect(atOnce).toBe(1)
    const others = await Promise.all(suspects.map((runId) => shop.records(runId)))
    begun += 1
    // The other runs are not claimed yet, so a crash now would not count against them.
    const claims = others.flat().filter(({ kind }) => kind === 'run_claimed')
    expect(claims).toHaveLength(2 * suspects.length + begun)
    atOnce -= 1
    return { verdict: 'achieved' as const, reason: 'done', details: '' }
  }
  shop.startAgent(suspects, {
    findGoal: (name) => ({ name, description: '', prompt: '', detect: async () => null, check }),
  })
  for (const runId of suspects) {
    const end = only(await shop.until(runId, 'run_end'), 'run_end')
    expect(end.payload.reason).toBe('done')
  }
})
