import { FakeProvider, type Json, type Planned } from './fake-provider.ts'
import { sse } from './support.ts'

/** The documented value for a call of another model. */
const UNSIGNED = 'skip_thought_signature_validator'

type Content = { readonly role: string; readonly parts: readonly Json[] }
type Call = { readonly id?: string; readonly name: string }

/**
 * Google: sides alternate, each step is signed as it was, its calls are answered at once and in their order, and nothing
 * else is in the content that answers them: what is said then has a content of its own.
 */
export class FakeGoogle extends FakeProvider {
  /** The parts that were signed, and the model that they came from, by their signatures. */
  readonly #signed = new Map<string, string>()

  protected broken({ contents }: Json): string | null {
    let open: readonly Call[] = []
    let before: Content | undefined
    for (const [at, content] of (contents as Content[]).entries()) {
      const { role, parts } = content
      const isAfterAnswers = role === 'user' && before?.parts[0]?.functionResponse !== undefined
      if (role === (before?.role ?? 'model') && !isAfterAnswers)
        return `contents.${at}: roles must alternate`
      before = content
      if (parts.length === 0) return `contents.${at}: parts must not be empty`
      const answers = parts.flatMap(({ functionResponse: answer }) => (answer ? [answer] : []))
      const named = (calls: readonly unknown[]) =>
        JSON.stringify(calls.map((call) => [(call as Call).id, (call as Call).name]))
      if (answers.length > 0 && answers.length < parts.length)
        return `contents.${at}: function responses must be alone`
      if (named(answers) !== named(open)) return `contents.${at}: calls and responses differ`
      const calls = parts.filter(({ functionCall }) => functionCall !== undefined)
      open = calls.map(({ functionCall }) => functionCall as Call)
      if (calls.length > 0 && calls[0]?.thoughtSignature === undefined)
        return 'Function call is missing a thought_signature'
      for (const { thoughtSignature: signature, ...part } of parts) {
        if (signature === undefined || signature === UNSIGNED) continue
        if (this.#signed.get(String(signature)) !== JSON.stringify(part))
          return 'Corrupted thought signature.'
      }
    }
    return open.length === 0 ? null : 'a call has no response'
  }

  protected reply(_: Json, { text, calls, end }: Planned, n: number): string {
    const sign = (part: Json, name: string) => {
      const thoughtSignature = `${name}+${n}/==`
      this.#signed.set(thoughtSignature, JSON.stringify(part))
      return { ...part, thoughtSignature }
    }
    const hasCalls = end === 'whole' || end === 'cut'
    // Older models give no ids.
    const functionCalls = (hasCalls ? calls : []).map(({ path }, index) => ({
      functionCall: {
        ...(n % 3 === 0 ? {} : { id: `g${n}_${index}` }),
        name: 'file_read',
        args: { path },
      },
    }))
    const [first, ...others] = functionCalls
    const pieces = [
      { text: `thought ${n}`, thought: true },
      ...(text && end !== 'empty' ? [{ text }] : []),
      ...(first === undefined ? [] : [sign(first, 'call')]),
      ...others,
      ...(end === 'whole' && first === undefined ? [sign({ text: '' }, 'end')] : []),
    ]
    const finishReason = {
      whole: 'STOP',
      empty: 'STOP',
      cut: 'MAX_TOKENS',
      refused: 'SAFETY',
      paused: 'MALFORMED_FUNCTION_CALL',
    }[end]
    const piece = (parts: readonly object[], more: object = {}) => ({
      candidates: [{ content: { role: 'model', parts }, ...more }],
    })
    const parts = end === 'empty' ? [] : pieces
    return sse([...parts.map((part) => piece([part])), piece([], { finishReason })])
  }
}

type Message = {
  readonly role: string
  readonly content: unknown
  readonly tool_name?: string
  readonly tool_calls?: readonly { readonly function: OllamaCall }[]
}
type OllamaCall = { readonly name: string; readonly arguments: { readonly path: string } }

/** Whether a result names this call. Without ids, nothing else connects them. One that is made for a call without any names none. */
const isOf = (call: OllamaCall | undefined, content: string): boolean =>
  call?.arguments.path === '[redacted]' ||
  content.includes(`of ${call?.arguments.path}`) ||
  content.startsWith('[unknown] There is no result')

/** Ollama: no ids, so results follow their calls in the same order; a window is set, because its own may be 4,096. */
export class FakeOllama extends FakeProvider {
  protected broken({ options, messages }: Json): string | null {
    if (!Number.isInteger((options as Json).num_ctx)) return 'num_ctx is not set'
    const open: OllamaCall[] = []
    for (const { role, content, tool_name, tool_calls = [] } of messages as Message[]) {
      if (typeof content !== 'string') return 'content must be a text'
      const call = role === 'tool' ? open.shift() : undefined
      const isNext = call?.name === tool_name && isOf(call, content)
      if (role === 'tool' ? !isNext : open.length > 0)
        return 'results must follow their calls in the same order'
      open.push(...tool_calls.map((next) => next.function))
    }
    return open.length === 0 ? null : 'a call has no result'
  }

  protected reply(_: Json, { text, calls, end }: Planned, n: number): string {
    const tool_calls = calls.map(({ path }) => ({
      function: { name: 'file_read', arguments: { path } },
    }))
    const line = (message: object, more: object = {}) =>
      `${JSON.stringify({ message: { role: 'assistant', content: '', ...message }, ...more })}\n`
    const said = [
      line({ thinking: `thought ${n}` }),
      line({ content: text }),
      ...(end === 'whole' || end === 'cut' ? [line({ tool_calls })] : []),
    ]
    const done_reason = { cut: 'length', empty: 'load' }[end as string] ?? 'stop'
    return [...(end === 'empty' ? [] : said), line({}, { done: true, done_reason })].join('')
  }
}
