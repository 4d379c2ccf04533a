import { expect, test } from 'vitest'
import { only, payloadsOf, played, reachGoal } from '../support.ts'

test('a run continues after a reply that was cut off: its calls are not run, and the model reads why', async () => {
  const { records, requests, end } = await played([
    {
      text: 'I write',
      calls: [{ tool: 'bash_exec', args: { command: 'touch never' } }],
      finishReason: 'length',
    },
    { text: 'Now.', calls: [reachGoal] },
  ])
  expect(end.status).toBe('achieved')
  const [reply] = payloadsOf(records, 'assistant_message')
  expect(reply).toMatchObject({ finish_reason: 'length', tool_calls: [] })
  expect(reply?.notice).toContain('bash_exec')
  expect(payloadsOf(records, 'tool_call').map(({ args }) => args)).toEqual([reachGoal.args])
  expect(JSON.stringify(requests[1]?.messages)).toContain('Your last reply was cut off')
})

test('a run continues after a reply that was empty, and one that was refused', async () => {
  const { records, requests, end } = await played([
    {},
    { text: 'I cannot help with', finishReason: 'content_filter' },
    { text: 'Now.', calls: [reachGoal] },
  ])
  expect(end.status).toBe('achieved')
  const reasons = payloadsOf(records, 'assistant_message').map((reply) => reply.finish_reason)
  expect(reasons).toEqual(['empty', 'refusal', 'tool_calls'])
  const last = JSON.stringify(requests[2]?.messages)
  expect(last).toContain('neither text nor a tool call')
  expect(last).not.toContain('I cannot help with')
})

/** A reply with a call that has no name. */
const NAMELESS = {
  choices: [
    {
      delta: { tool_calls: [{ id: 'a', type: 'function', function: { arguments: '{}' } }] },
      finish_reason: 'stop',
    },
  ],
}

test('a reply with a call that has no name is asked for again once, because it was paid', async () => {
  let asked = 0
  const { records, requests, end } = await played(() => {
    asked += 1
    return asked === 1 ? { status: 503 } : { status: 200, body: NAMELESS }
  })
  expect(end.status).toBe('failed')
  expect(only(records, 'error').payload.message).toMatch(
    /a call has no name \(attempt 3 of 4; the model was asked again once\)/,
  )
  const failures = payloadsOf(records, 'llm_retry').map(({ failure }) => failure)
  expect(failures).toEqual(['overloaded', 'invalid_reply'])
  expect(requests).toHaveLength(3)
  const used = payloadsOf(records, 'llm_usage')
  expect(used).toHaveLength(2)
  const tokens = used.reduce((sum, each) => sum + each.input_tokens + each.output_tokens, 0)
  expect(end.total_tokens).toBe(tokens)
})

test('a reply that is not valid uses up the budget of its run, and no more is asked', async () => {
  const body = { ...NAMELESS, usage: { prompt_tokens: 60, completion_tokens: 40, cost: 0.25 } }
  const { records, requests, end } = await played(() => ({ status: 200, body }), {
    max_tokens: 100,
  })
  expect(requests).toHaveLength(1)
  expect(payloadsOf(records, 'llm_usage')).toMatchObject([
    { input_tokens: 60, output_tokens: 40, cost_usd: 0.25, price_source: 'provider' },
  ])
  expect(end).toMatchObject({ total_tokens: 100, estimated_cost_usd: 0.25 })
  expect(end.reason).toMatch(/max_tokens/)
})

test('if a proxy sends a page in place of a reply, that costs nothing, so all attempts are used', async () => {
  const { records, requests } = await played(() => ({ fault: 'garbage' }))
  expect(only(records, 'error').payload.message).toMatch(/It works!.*\(attempt 4 of 4\)/)
  expect(payloadsOf(records, 'llm_usage')).toEqual([])
  expect(requests).toHaveLength(4)
})

test('a model that makes no progress reads a hint, and solves the task with a better approach', async () => {
  const { requests, end } = await played(
    ({ turn, messages }) => {
      const asked = JSON.stringify(messages).includes('take another approach')
      if (!asked) return { calls: [{ tool: 'file_list', args: {} }] }
      return turn === 5 ? { calls: [reachGoal] } : { text: 'It is done.' }
    },
    { max_turns_per_iteration: 50 },
  )
  expect(end.status).toBe('achieved')
  const hint = 'The last 2 turns were as turns before them'
  expect(JSON.stringify(requests[3]?.messages)).toContain(hint)
  expect(requests).toHaveLength(7)
})
