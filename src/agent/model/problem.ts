import * as z from 'zod'

const Detail = z.object({
  message: z.string(),
  code: z.union([z.string(), z.number()]).nullish().catch(null),
  type: z.string().nullish().catch(null),
})

const Wrapped = z.object({ error: z.union([z.string().min(1), z.looseObject({})]) })

/** What an endpoint says went wrong. `code` is its own word for it, or a status in the body. */
export type Problem = { readonly message: string; readonly code: string | number | null }

/**
 * Reads the body of an error, wherever an endpoint puts its message: `{error: {message}}`, the same
 * in a list (Google), `{error: "…"}` (Ollama), `{message}` (vLLM), or plain text.
 */
export function readProblem(body: unknown): Problem {
  const first: unknown = Array.isArray(body) ? body[0] : body
  const wrapped = Wrapped.safeParse(first)
  const inner = wrapped.success ? wrapped.data.error : first
  const detail = Detail.safeParse(inner)
  if (detail.success) {
    const { message, code, type } = detail.data
    return { message, code: type === 'insufficient_quota' ? type : (code ?? null) }
  }
  return { message: textOf(inner), code: null }
}

/** Whether a body speaks of an error at all. */
export function holdsProblem(body: unknown): boolean {
  return Wrapped.safeParse(body).success
}

function textOf(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value ?? '')
  return ['', '""', '{}'].includes(text.trim()) ? 'no reason given' : text
}
