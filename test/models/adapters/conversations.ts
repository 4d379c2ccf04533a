import fc from 'fast-check'
import type { ChatMessage, SentImage } from '../../../src/domain/conversation.ts'
import type { Json } from '../../../src/models/adapter.ts'
import type { Route } from '../../../src/models/routing.ts'

type Assistant = Extract<ChatMessage, { role: 'assistant' }>

/** The items of a provider that say the same as this message, with reasoning before it. */
function itemsOf({ content, calls }: Assistant, { api }: Route, thought: string): Json[] {
  switch (api) {
    case 'messages':
      return [
        { type: 'thinking', thinking: '', signature: `sig-${thought}` },
        ...(content ? [{ type: 'text', text: content }] : []),
        ...calls.map(({ id, tool, args }) => ({
          type: 'tool_use',
          id,
          name: tool,
          input: JSON.parse(args),
        })),
      ]
    case 'responses':
      return [
        {
          type: 'reasoning',
          id: `rs_${thought}`,
          summary: [],
          encrypted_content: `enc-${thought}`,
        },
        ...(content
          ? [
              {
                type: 'message',
                id: `msg_${thought}`,
                role: 'assistant',
                status: 'completed',
                phase: calls.length > 0 ? 'commentary' : 'final_answer',
                content: [{ type: 'output_text', text: content, annotations: [], logprobs: [] }],
              },
            ]
          : []),
        ...calls.map(({ id, tool, args }) => ({
          type: 'function_call',
          id: `fc_${id}`,
          call_id: id,
          name: tool,
          arguments: args,
          status: 'completed',
        })),
      ]
    case 'gemini':
      return [
        { text: `thought ${thought}`, thought: true },
        ...(content ? [{ text: content }] : []),
        ...calls.map(({ id, tool, args }, at) => ({
          functionCall: { id, name: tool, args: JSON.parse(args) },
          ...(at === 0 ? { thoughtSignature: `sig-${thought}` } : {}),
        })),
      ]
    case 'ollama':
      return [{ thinking: `thought ${thought}` }]
    case 'chat':
      return [{ reasoning_content: `thought ${thought}` }]
  }
}

export type Turn = {
  readonly reply: Assistant
  readonly after: readonly ChatMessage[]
}

/** One turn of a random conversation: what the model said, by which model, and what came after. */
type Draft = {
  readonly text: string
  readonly calls: readonly {
    readonly tool: string
    readonly path: string
    readonly isImage: boolean
  }[]
  readonly by: 'own' | 'other' | 'redacted'
  readonly feedback: string
}

const text = fc.string({ unit: 'grapheme', minLength: 0, maxLength: 8 })
const draft: fc.Arbitrary<Draft> = fc.record({
  text: fc.oneof(fc.constant('I look.'), text),
  calls: fc.array(
    fc.record({
      tool: fc.constantFrom('file_read', 'a tool:x', 'git_status'),
      path: text,
      isImage: fc.boolean(),
    }),
    { maxLength: 3 },
  ),
  by: fc.constantFrom('own', 'own', 'own', 'other', 'redacted'),
  feedback: text,
})

/** One pixel. */
const IMAGE: SentImage = {
  ...{ media_type: 'image/png', width: 1, height: 1, sha256: 'a'.repeat(64), bytes: 67 },
  data: 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
}

/**
 * Random conversations with this model, in which some replies are of another model or have lost their items.
 * @param images whether some results hold an image
 */
export const conversationWith = (route: Route, max = 8, images = false): fc.Arbitrary<Turn[]> =>
  fc.array(draft, { minLength: 1, maxLength: max }).map((drafts) =>
    drafts.map(({ text, calls, by, feedback }, turn) => {
      const said: Assistant = {
        role: 'assistant',
        content: text.trim() || calls.length === 0 ? text : null,
        calls: calls.map(({ tool, path }, n) => ({
          // Ids of another provider may repeat, and may have characters that this one refuses.
          id: by === 'own' ? `call_${turn}_${n}` : `call:${n}`,
          tool: by === 'own' ? 'file_read' : tool,
          args: JSON.stringify({ path }),
        })),
      }
      const { endpoint, api, model } = route
      const provider = by === 'own' ? endpoint.name : 'another'
      const items = { provider, api, model, items: itemsOf(said, route, `${turn}`) }
      const results = said.calls.map(({ id }, n): ChatMessage => {
        const result = { role: 'tool', callId: id, content: `result of ${id}` } as const
        return images && calls[n]?.isImage ? { ...result, image: IMAGE } : result
      })
      const isLast = calls.length === 0 || feedback.trim() !== ''
      return {
        reply: by === 'redacted' ? said : { ...said, items },
        after: isLast ? [...results, { role: 'user', content: feedback || 'Continue.' }] : results,
      }
    }),
  )

export const HEAD: readonly ChatMessage[] = [
  { role: 'system', content: 'You fix programs.' },
  { role: 'user', content: 'Fix this one.' },
]

/** The messages of the request after so many turns. */
export const messagesAfter = (turns: readonly Turn[]): ChatMessage[] => [
  ...HEAD,
  ...turns.flatMap(({ reply, after }) => [reply, ...after]),
]
