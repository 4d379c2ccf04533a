import type { Adapter } from '../adapter.ts'
import { ollamaReader } from './ollama-reader.ts'
import { toOllamaBody } from './ollama-request.ts'
import { postJson } from './post-json.ts'

/** Ollama's own chat API: a line of JSON for each piece of a reply. */
export function ollamaAdapter(): Adapter {
  return {
    framing: 'lines',
    body: toOllamaBody,
    send: (body, { endpoint }, signal) =>
      postJson(`${endpoint.baseUrl.replace(/\/+$/, '')}/api/chat`, body, {}, signal),
    reader: () => ollamaReader(),
  }
}
