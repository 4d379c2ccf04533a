import type { Adapter } from '../adapter.ts'
import { geminiReader } from './gemini-reader.ts'
import { toGeminiBody } from './gemini-request.ts'
import { postJson } from './post-json.ts'

/**
 * Google's own API. Its SDK rebuilds what it sends and drops fields that it does not know; the signatures of thoughts
 * must go back as they came.
 */
export function geminiAdapter(): Adapter {
  return {
    framing: 'events',
    body: toGeminiBody,
    send: (body, { endpoint, model }, signal) => {
      const { baseUrl, apiKey } = endpoint
      const address = `${baseUrl.replace(/\/+$/, '')}/models/${encodeURIComponent(model)}`
      const key: Record<string, string> = apiKey === null ? {} : { 'x-goog-api-key': apiKey }
      return postJson(`${address}:streamGenerateContent?alt=sse`, body, key, signal)
    },
    reader: () => geminiReader(),
  }
}
