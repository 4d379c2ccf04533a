import * as z from 'zod'
import type { Json } from '../adapter.ts'
import type { ModelPart } from '../model.ts'

const Text = z.object({ type: z.literal('text'), text: z.string() })
const Thinking = z.object({ type: z.literal('thinking'), thinking: z.array(Text) })
const KnownPart = z.union([Text, Thinking])
export type ContentPart = z.infer<typeof KnownPart>

/** The content of a message: one text, or a list of parts (Mistral's reasoning is one of them). */
export class ContentParts {
  readonly #parts: ContentPart[] = []

  /** Takes a piece, and joins it with the last part if that is of the same type. */
  add(piece: string | readonly Json[]): ModelPart[] {
    const added = typeof piece === 'string' ? [textPart(piece)] : piece.flatMap(readPart)
    return added.flatMap((part) => this.#addPart(part))
  }

  text(): string | null {
    const text = this.#parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
    return text.trim() ? text : null
  }

  /** All parts if reasoning is among them, else null. */
  reasoningParts(): readonly ContentPart[] | null {
    return this.#parts.some(({ type }) => type === 'thinking') ? this.#parts : null
  }

  #addPart(part: ContentPart): ModelPart[] {
    const last = this.#parts.at(-1)
    if (part.type === 'text') {
      if (part.text === '') return []
      if (last?.type === 'text') last.text += part.text
      else this.#parts.push({ ...part })
      return [{ type: 'text', text: part.text }]
    }
    const text = part.thinking.map((piece) => piece.text).join('')
    if (last?.type === 'thinking') last.thinking = [textPart(thoughts(last) + text)]
    else this.#parts.push({ type: 'thinking', thinking: [textPart(text)] })
    return text === '' ? [] : [{ type: 'reasoning', text }]
  }
}

const textPart = (text: string): z.infer<typeof Text> => ({ type: 'text', text })

const thoughts = ({ thinking }: z.infer<typeof Thinking>): string =>
  thinking.map(({ text }) => text).join('')

/** Images and other parts are ignored. A thought may also be a plain text. */
function readPart(part: Json): ContentPart[] {
  if (typeof part === 'string') return [textPart(part)]
  const known = KnownPart.safeParse(part)
  return known.success ? [known.data] : []
}

const Detail = z.looseObject({ type: z.string(), index: z.number().nullish() })
type Detail = z.infer<typeof Detail>

/** Properties of which each chunk brings a piece. */
const JOINED: ReadonlySet<string> = new Set(['text', 'summary', 'data'])

/** OpenRouter's `reasoning_details`: a list that must go back unchanged and comes in pieces. */
export class ReasoningDetails {
  readonly #all: Detail[] = []

  add(pieces: readonly Json[]): void {
    for (const piece of pieces) {
      const detail = Detail.safeParse(piece)
      if (detail.success) this.#addDetail(detail.data)
    }
  }

  all(): Json[] {
    return this.#all as Json[]
  }

  #addDetail(piece: Detail): void {
    const { type, index } = piece
    const known = this.#all.find(
      (detail) => typeof index === 'number' && detail.index === index && detail.type === type,
    )
    if (known === undefined) {
      this.#all.push({ ...piece })
      return
    }
    for (const [name, value] of Object.entries(piece)) {
      const before = known[name]
      const isJoined = JOINED.has(name) && typeof before === 'string' && typeof value === 'string'
      if (isJoined) known[name] = before + value
      else if (value !== null && value !== undefined) known[name] = value
    }
  }
}
