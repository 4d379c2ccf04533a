/**
 * In each test, every request to a model must be one that the types of its vendor allow: every body that is built, every
 * body that is sent, and what a scripted model gets from a server in another process.
 */
import { afterEach, expect, vi } from 'vitest'
import type { ModelRequest } from '../../src/agent/model/model.ts'
import type { Api, Route } from '../../src/agent/model/routing.ts'
import { apiAt, complaintsAbout } from '../agent/model/schemas/schemas.ts'

const complaints: string[] = []

function check(api: Api, body: object): void {
  const found = complaintsAbout(api, body)
  if (found.length > 0) complaints.push(`${api}: ${found.join('\n')}\n${JSON.stringify(body)}`)
}

afterEach(() => {
  expect(complaints.splice(0), 'requests that their vendor would refuse').toEqual([])
})

const checked =
  <B extends object>(api: Api, build: (request: ModelRequest, route: Route) => B) =>
  (request: ModelRequest, route: Route): B => {
    const body = build(request, route)
    check(api, body)
    return body
  }

vi.mock(import('../../src/agent/model/adapters/chat.ts'), async (original) => ({
  toChatBody: checked('chat', (await original()).toChatBody),
}))
vi.mock(import('../../src/agent/model/adapters/responses.ts'), async (original) => ({
  toResponsesBody: checked('responses', (await original()).toResponsesBody),
}))
vi.mock(import('../../src/agent/model/adapters/messages-request.ts'), async (original) => ({
  toMessagesBody: checked('messages', (await original()).toMessagesBody),
}))
vi.mock(import('../../src/agent/model/adapters/gemini.ts'), async (original) => ({
  toGeminiBody: checked('gemini', (await original()).toGeminiBody),
}))
vi.mock(import('../../src/agent/model/adapters/ollama-request.ts'), async (original) => ({
  toOllamaBody: checked('ollama', (await original()).toOllamaBody),
}))

vi.mock(import('../../src/agent/model/patient-fetch.ts'), async (original) => {
  const { patientFetch } = await original()
  return {
    patientFetch: (input, init) => {
      const api = apiAt(new URL(input instanceof Request ? input.url : input))
      if (api !== null) check(api, JSON.parse(String(init?.body)))
      return patientFetch(input, init)
    },
  }
})

vi.mock(import('../../examples/scripted-model/request.ts'), async (original) => {
  const { readRequest } = await original()
  return {
    readRequest: (text, headers) => {
      // Only the SDK sends this header: tests also send requests of their own.
      if (headers['x-stainless-lang'] !== undefined) check('chat', JSON.parse(text))
      return readRequest(text, headers)
    },
  }
})
