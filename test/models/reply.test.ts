import { describe, expect, test } from 'vitest'
import { toRequestedCalls } from '../../src/models/replies.ts'
import { ask, says, scripted } from './support.ts'

const call = (id: unknown, args: unknown, name = 'file_read') => ({
  ...(id === undefined ? {} : { id }),
  type: 'function',
  function: { name, ...(args === undefined ? {} : { arguments: args }) },
})

async function replyTo(message: Record<string, unknown>, rest: Record<string, unknown> = {}) {
  const { models } = await scripted(says(message, rest))
  return (await ask(models))._unsafeUnwrap()
}

describe('a reply', () => {
  test('has text, tool calls and usage', async () => {
    const args = { path: 'a.py' }
    const { models } = await scripted([
      {
        text: 'I read it.',
        calls: [{ tool: 'file_read', args }],
        usage: { input: 120, output: 34 },
      },
    ])
    const reply = await ask(models, { modelName: 'claude-sonnet-4-6' })
    expect(reply._unsafeUnwrap()).toMatchObject({
      text: 'I read it.',
      toolCalls: [{ call_id: 'call_0_0', tool: 'file_read', args }],
      finishReason: 'tool_calls',
      providerItems: null,
      usage: { inputTokens: 120, outputTokens: 34, cachedTokens: 0 },
      provider: 'custom',
      costUsd: expect.any(Number),
      firstTokenMs: expect.any(Number),
    })
  })

  test.each([
    ['a string', 'Done.', 'Done.'],
    ['null', null, null],
    ['left out', undefined, null],
    ['blank', '  \n', null],
  ])('is read where its content is %s', async (_, content, text) => {
    expect((await replyTo({ content })).text).toBe(text)
  })

  test.each([
    '<tool_call>\n{"name": "bash_exec", "arguments": {}}\n</tool_call>',
    'I look.\n<function=bash_exec>\n<parameter=command>ls</parameter>\n</function>',
    '<|tool_calls_section_begin|><|tool_call_begin|>functions.bash_exec:0',
    '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function',
    '[TOOL_CALLS][{"name": "bash_exec"}]',
    '<function_calls>\n<invoke name="bash_exec">',
  ])('is malformed if it writes a call as a text: %s', async (content) => {
    expect(await replyTo({ content })).toMatchObject({ finishReason: 'malformed', text: content })
    const mentioned = await replyTo({ content: `The parser reads ${content.slice(0, 12)} now.` })
    expect(mentioned.finishReason).toBe('stop')
  })

  test('may be a refusal', async () => {
    const { text } = await replyTo({ content: null, refusal: 'I will not do that.' })
    expect(text).toBe('I will not do that.')
  })
})

describe('tool calls', () => {
  const argumentsOf = async (written: unknown) => {
    const { toolCalls } = await replyTo({ tool_calls: [call('a', written)] })
    const { args, raw_args } = toolCalls[0] ?? {}
    return { args, raw_args }
  }

  test.each([
    ['{"path": "a.py", "nested": {"n": [1, null]}}', { path: 'a.py', nested: { n: [1, null] } }],
    ['', {}],
    ['  ', {}],
    [undefined, {}],
    [null, {}],
    [{ path: 'a.py' }, { path: 'a.py' }],
  ])('parses the arguments %j', async (written, args) => {
    expect(await argumentsOf(written)).toEqual({ args, raw_args: undefined })
  })

  const deep = `{"path":${'['.repeat(3_000)}${']'.repeat(3_000)}}`
  test.each(['{"path": "a.py"', '"a.py"', '["a.py"]', 'null', '42', 'path=a.py', deep])(
    'keeps the arguments %.20j as they are, because they are not a JSON object that can be recorded',
    async (written) => {
      expect(await argumentsOf(written)).toEqual({ args: {}, raw_args: written })
    },
  )

  test('hold no half of a surrogate pair, which the log cannot hold', async () => {
    const written = String.raw`{"path":"\uD83D","b":["\ud83d\ude00"]}`
    expect((await argumentsOf(written)).args).toEqual({ path: '\ufffd', b: ['😀'] })
  })

  test('get ids that are unique in their reply, and the same each time', async () => {
    const ids = ['x', 'x', undefined, '', 'call_2', 7, 'x', 'x_2']
    const message = { tool_calls: ids.map((id) => call(id, '{}')) }
    const first = (await replyTo(message)).toolCalls.map(({ call_id }) => call_id)
    expect(first).toEqual(['x', 'x_2', 'call_2', 'call_3', 'call_2_2', 'call_5', 'x_3', 'x_2_2'])
    const many = toRequestedCalls(
      Array.from({ length: 100_000 }, () => ({ id: 'x', name: 'f', args: '' })),
    )
    expect(many.at(-1)?.call_id).toBe('x_100000')
    const second = (await replyTo(message)).toolCalls.map(({ call_id }) => call_id)
    expect(second).toEqual(first)
  })
})

test('usage may name its own cost, which must be one', async () => {
  const usage = { prompt_tokens: 10, completion_tokens: 3 }
  const costOf = async (cost: unknown) => {
    const reply = await replyTo({ content: 'Done.' }, { usage: { ...usage, cost } })
    return [reply.costUsd, reply.priceSource]
  }
  expect(await costOf(0.25)).toEqual([0.25, 'provider'])
  for (const cost of [1e300, '1']) expect(await costOf(cost)).toEqual([null, null])
})
