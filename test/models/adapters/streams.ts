/**
 * Streams as the providers document them, written for these tests by hand: no provider was called for them, and none is
 * a copy of a recording. Each has text that is cut inside of characters, reasoning and calls.
 */
import type { Api } from '../../../src/models/routing.ts'
import { sse } from './support.ts'

const usage = {
  input_tokens: 9000,
  input_tokens_details: { cached_tokens: 8192, cache_write_tokens: 700 },
  output_tokens: 900,
  output_tokens_details: { reasoning_tokens: 640 },
  total_tokens: 9900,
}
const REASONING = {
  type: 'reasoning',
  id: 'rs_1',
  summary: [{ type: 'summary_text', text: 'I look first – naïve.' }],
  encrypted_content: 'gAAAAAB_one-two==',
}
const SAID = {
  type: 'message',
  id: 'msg_1',
  role: 'assistant',
  status: 'completed',
  phase: 'commentary',
  content: [{ type: 'output_text', text: 'Ich öffne 🚀 a.py', annotations: [], logprobs: [] }],
}
const callItem = (n: number, args: string) => ({
  type: 'function_call',
  id: `fc_${n}`,
  call_id: `call_${n}`,
  name: 'file_read',
  arguments: args,
  status: 'completed',
})
const CALLS = [
  callItem(1, '{"path":"a.py","lines":null}'),
  callItem(2, '{"path":"ä.py","lines":3}'),
]
const output = [REASONING, SAID, ...CALLS]
const response = (status: string, more: object = {}) => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  status,
  model: 'gpt-5.2',
  output: [],
  error: null,
  incomplete_details: null,
  usage: null,
  ...more,
})

function callEvents(item: (typeof CALLS)[number], output_index: number) {
  const { id: item_id } = item
  const middle = item.arguments.length / 2
  return [
    {
      type: 'response.output_item.added',
      output_index,
      item: { ...item, arguments: '', status: 'in_progress' },
    },
    ...[item.arguments.slice(0, middle), item.arguments.slice(middle)].map((delta) => ({
      type: 'response.function_call_arguments.delta',
      item_id,
      output_index,
      delta,
      obfuscation: 'xxxx',
    })),
    {
      type: 'response.function_call_arguments.done',
      item_id,
      output_index,
      arguments: item.arguments,
      name: item.name,
    },
    { type: 'response.output_item.done', output_index, item },
  ]
}

const emptyReasoning = { ...REASONING, summary: [], encrypted_content: 'gAAAAAB_part' }
const textOf = { item_id: 'msg_1', output_index: 1, content_index: 0, logprobs: [] }
const summaryOf = { item_id: 'rs_1', output_index: 0, summary_index: 0 }

const responses = [
  { type: 'response.created', response: response('in_progress') },
  { type: 'response.in_progress', response: response('in_progress') },
  { type: 'response.output_item.added', output_index: 0, item: emptyReasoning },
  {
    type: 'response.reasoning_summary_part.added',
    ...summaryOf,
    part: { type: 'summary_text', text: '' },
  },
  { type: 'response.reasoning_summary_text.delta', ...summaryOf, delta: 'I look ' },
  { type: 'response.reasoning_summary_text.delta', ...summaryOf, delta: 'first – naïve.' },
  { type: 'response.output_item.done', output_index: 0, item: REASONING },
  {
    type: 'response.output_item.added',
    output_index: 1,
    item: { ...SAID, content: [], status: 'in_progress' },
  },
  {
    type: 'response.content_part.added',
    item_id: 'msg_1',
    output_index: 1,
    content_index: 0,
    part: { type: 'output_text', text: '', annotations: [], logprobs: [] },
  },
  { type: 'response.output_text.delta', ...textOf, delta: 'Ich öffne ' },
  { type: 'response.output_text.delta', ...textOf, delta: '🚀 a.py' },
  { type: 'response.output_text.done', ...textOf, text: 'Ich öffne 🚀 a.py' },
  { type: 'response.output_item.done', output_index: 1, item: SAID },
  ...CALLS.flatMap((item, index) => callEvents(item, index + 2)),
  { type: 'response.completed', response: response('completed', { output, usage }) },
].map((event, sequence_number) => ({ ...event, sequence_number }))

const block = (index: number, content_block: object, deltas: readonly object[]) => [
  { type: 'content_block_start', index, content_block },
  ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
  { type: 'content_block_stop', index },
]
const json = (partial_json: string) => ({ type: 'input_json_delta', partial_json })

const messages = [
  {
    type: 'message_start',
    message: {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'claude-opus-5-5',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: {
        input_tokens: 12,
        cache_creation_input_tokens: 700,
        cache_read_input_tokens: 8192,
        cache_creation: { ephemeral_5m_input_tokens: 700, ephemeral_1h_input_tokens: 0 },
        output_tokens: 1,
      },
    },
  },
  { type: 'ping' },
  ...block(0, { type: 'thinking', thinking: '', signature: '' }, [
    { type: 'thinking_delta', thinking: 'Zuerst ' },
    { type: 'thinking_delta', thinking: 'schaue ich – 🤔.' },
    { type: 'signature_delta', signature: 'EqQB/abc+def==' },
  ]),
  ...block(1, { type: 'redacted_thinking', data: 'EmwKAhgB_opaque' }, []),
  ...block(2, { type: 'text', text: '', citations: null }, [
    { type: 'text_delta', text: 'Ich öffne ' },
    { type: 'text_delta', text: '🚀 a.py' },
  ]),
  ...block(3, { type: 'tool_use', id: 'toolu_1', name: 'file_read', input: {} }, [
    json(''),
    json('{"path": "a'),
    json('.py"}'),
  ]),
  ...block(4, { type: 'tool_use', id: 'toolu_2', name: 'git_status', input: {} }, [json('')]),
  {
    type: 'message_delta',
    delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { output_tokens: 420, output_tokens_details: { thinking_tokens: 300 } },
  },
  { type: 'message_stop' },
]

const chunk = (delta: object, finish_reason: string | null = null) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'some-model',
  choices: [{ index: 0, delta, finish_reason }],
})
const calls = (...tool_calls: object[]) => chunk({ tool_calls })

const chat = [
  chunk({ role: 'assistant', content: '' }),
  chunk({ reasoning_content: 'Let me ' }),
  chunk({ reasoning_content: 'see – naïve.' }),
  chunk({ content: 'Ich öffne ' }),
  chunk({ content: '🚀 a.py' }),
  calls({
    index: 0,
    id: 'call_1',
    type: 'function',
    function: { name: 'file_read', arguments: '' },
    extra_content: { google: { thought_signature: 'Cs4BAQ==' } },
  }),
  calls({ index: 0, function: { arguments: '{"path": "a' } }),
  calls({ index: 0, function: { arguments: '.py"}' } }),
  calls({
    index: 1,
    id: 'call_2',
    type: 'function',
    function: { name: 'git_status', arguments: '{}' },
  }),
  chunk({}, 'tool_calls'),
  {
    ...chunk({}),
    choices: [],
    usage: {
      prompt_tokens: 9000,
      completion_tokens: 900,
      total_tokens: 9900,
      prompt_tokens_details: { cached_tokens: 8192 },
      completion_tokens_details: { reasoning_tokens: 640 },
    },
  },
  '[DONE]',
]

const piece = (parts: readonly object[], more: object = {}) => ({
  candidates: [{ content: { role: 'model', parts }, index: 0, ...more }],
})
const geminiCall = (id: string, path: string) => ({
  functionCall: { id, name: 'file_read', args: { path } },
})
/** Thoughts, a text in pieces, two calls of which the first is signed, and a signature in an empty last part. */
const gemini = [
  piece([{ text: 'I think', thought: true }]),
  piece([{ text: ' of ä 🚀.', thought: true }]),
  piece([{ text: 'I look' }]),
  piece([{ text: ' at it.' }]),
  piece([{ ...geminiCall('c1', 'ä.py'), thoughtSignature: 'Cs+/==' }, geminiCall('c2', 'b.py')]),
  {
    ...piece([{ text: '', thoughtSignature: 'Last==' }], { finishReason: 'STOP' }),
    usageMetadata: {
      promptTokenCount: 900,
      toolUsePromptTokenCount: 20,
      cachedContentTokenCount: 512,
      candidatesTokenCount: 40,
      thoughtsTokenCount: 60,
      totalTokenCount: 1020,
    },
  },
]

/** One whole reply of each API. */
export const EVENTS = { chat, responses, messages, gemini } as const satisfies Partial<
  Record<Api, readonly unknown[]>
>
export const STREAMS: Readonly<Record<keyof typeof EVENTS, string>> = {
  chat: `: keep-alive\n\n${sse(chat)}`,
  responses: sse(responses),
  messages: sse(messages),
  gemini: sse(gemini),
}
