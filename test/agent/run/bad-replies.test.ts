import { describe, expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../support.ts'

/** The records of a run of this script, from its beginning to its end. */
async function runOf(script: Script, changes: Partial<RunConfig> = {}) {
  await using workshop = await Workshop.open(script)
  const records = await workshop.play(changes)
  return { records, requests: workshop.requests }
}

describe('a run continues after a reply', () => {
  test('that was cut off: its calls are not run, and the model reads why', async () => {
    const { records, requests } = await runOf([
      {
        text: 'I write',
        calls: [{ tool: 'bash_exec', args: { command: 'touch never' } }],
        finishReason: 'length',
      },
      { text: 'Now.', calls: [reachGoal] },
    ])
    expect(only(records, 'run_end').payload.status).toBe('achieved')
    const replies = records.filter(({ kind }) => kind === 'assistant_message')
    expect(replies[0]?.payload).toMatchObject({
      finish_reason: 'length',
      tool_calls: [],
      notice: expect.stringContaining('bash_exec'),
    })
    const calls = payloadsOf(records, 'tool_call').map(({ args }) => args)
    expect(calls).toEqual([reachGoal.args])
    expect(JSON.stringify(requests[1]?.messages)).toContain('Your last reply was cut off')
  })

  test('that was empty, and one that was refused', async () => {
    const { records, requests } = await runOf([
      {},
      { text: 'I cannot help with', finishReason: 'content_filter' },
      { text: 'Now.', calls: [reachGoal] },
    ])
    expect(only(records, 'run_end').payload.status).toBe('achieved')
    const reasons = payloadsOf(records, 'assistant_message').map(
      ({ finish_reason }) => finish_reason,
    )
    expect(reasons).toEqual(['empty', 'refusal', 'tool_calls'])
    const last = JSON.stringify(requests[2]?.messages)
    expect(last).toContain('neither text nor a tool call')
    expect(last).not.toContain('I cannot help with')
  })
})

const nameless = { id: 'a', type: 'function', function: { arguments: '{}' } }

test('a reply with a call that has no name is asked for again once, because it was paid', async () => {
  const reply = {
    status: 200,
    body: { choices: [{ delta: { tool_calls: [nameless] }, finish_reason: 'stop' }] },
  }
  const reason = /a call has no name \(attempt 3 of 4; the model was asked again once\)/
  let asked = 0
  const { records, requests } = await runOf(() => {
    asked += 1
    return asked === 1 ? { status: 503 } : reply
  })
  expect(only(records, 'error').payload.message).toMatch(reason)
  expect(only(records, 'run_end').payload.status).toBe('failed')
  const failures = payloadsOf(records, 'llm_retry').map(({ failure }) => failure)
  expect(failures).toEqual(['overloaded', 'invalid_reply'])
  expect(requests).toHaveLength(3)
  const used = payloadsOf(records, 'llm_usage')
  expect(used).toHaveLength(2)
  const tokens = used.reduce((sum, each) => sum + each.input_tokens + each.output_tokens, 0)
  expect(only(records, 'run_end').payload.total_tokens).toBe(tokens)
})

test('a reply that is not valid uses up the budget of its run, and no more is asked', async () => {
  const body = {
    choices: [{ delta: { tool_calls: [nameless] }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 60, completion_tokens: 40, cost: 0.25 },
  }
  const { records, requests } = await runOf(() => ({ status: 200, body }), { max_tokens: 100 })
  expect(requests).toHaveLength(1)
  expect(only(records, 'llm_usage').payload).toMatchObject({
    ...{ input_tokens: 60, output_tokens: 40, cost_usd: 0.25, price_source: 'provider' },
  })
  expect(only(records, 'run_end').payload).toMatchObject({
    ...{ total_tokens: 100, estimated_cost_usd: 0.25, reason: expect.stringMatching(/max_tokens/) },
  })
})

test('if a proxy sends a page in place of a reply, that costs nothing, so all attempts are used', async () => {
  const { records, requests } = await runOf(() => ({ fault: 'garbage' }))
  expect(only(records, 'error').payload.message).toMatch(/It works!.*\(attempt 4 of 4\)/)
  expect(records.filter(({ kind }) => kind === 'llm_usage')).toEqual([])
  expect(requests).toHaveLength(4)
})

describe('a model that makes no progress', () => {
  const stuck = { max_turns_per_iteration: 50 }

  test('reads a hint, is asked for another approach, and solves the task with a better one', async () => {
    const { records, requests } = await runOf(({ turn, messages }) => {
      const asked = JSON.stringify(messages).includes('take another approach')
      if (!asked) return { calls: [{ tool: 'file_list', args: {} }] }
      return turn === 5 ? { calls: [reachGoal] } : { text: 'It is done.' }
    }, stuck)
    expect(only(records, 'run_end').payload.status).toBe('achieved')
    expect(JSON.stringify(requests[3]?.messages)).toContain(
      'The last 2 turns were as turns before them',
    )
    expect(requests).toHaveLength(7)
  })
})
