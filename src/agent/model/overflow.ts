/** Error codes that mean that a conversation is too long for its model. */
const CODES: ReadonlySet<string> = new Set([
  'context_length_exceeded',
  'request_too_large',
  'model_context_window_exceeded',
])

/** What the endpoints write if a conversation is too long. Few of them have a code for it. */
const PHRASES = [
  /prompt (?:is )?too long/i,
  /request(?:_| entity )too_?large/i,
  /input is too long/i,
  /exceeds? (?:the|your) (?:model'?s? )?context (?:window|length)/i,
  /maximum context length/i,
  /exceeds maximum allowed input length/i,
  /input token count.*exceeds/i,
  /tokens in request more than max tokens/i,
  /maximum prompt length/i,
  /reduce the length of (?:the|your) (?:messages|prompt|input)/i,
  /exceeds the limit of \d+/i,
  /exceeds the available context size/i,
  /greater than the context length/i,
  /context window exceeds/i,
  /exceeded (?:model|max context) (?:token limit|length)/i,
  /context length is only \d+/i,
  /prompt has \d+ tokens/i,
  /too many tokens/i,
  /token limit exceeded/i,
]

/** Limits on the rate of requests use similar words. */
const RATE_LIMIT = /rate.?limit|throttl|too many requests|per minute|service unavailable/i

/** Whether an error means that the conversation is longer than the model's context window. */
export function isOverflow(message: string, codes: readonly (string | number | null)[]): boolean {
  if (codes.some((code) => CODES.has(String(code)))) return true
  return !RATE_LIMIT.test(message) && PHRASES.some((phrase) => phrase.test(message))
}
