/**
 * In each test, every request to a model must be one that the types of its vendor allow: every body that is built, every
 * body that is sent, and what a scripted model gets from a server in another process.
 */
import { afterEach, expect, vi } from 'vitest'
import type { Adapter } from '../../src/models/adapter.ts'
import type { ModelRequest } from '../../src/models/model.ts'
import type { Api, Route } from '../../src/models/routing.ts'
import { apiAt, check, refused } from '../models/schemas/schemas.ts'

// This module is evaluated for each file of tests. Modules that an earlier file loaded keep the mocks of that time.
afterEach(() => {
  expect(refused.splice(0), 'requests that their vendor would refuse').toEqual([])
})

type Build = (request: ModelRequest, route: Route) => object

const checked =
  (api: Api, build: Build): Build =>
  (request, route) => {
    const body = build(request, route)
    check(api, body)
    return body
  }

/** A module of an API, whose function `to…Body` and whose adapter check each body that they build. */
const withChecks = <M extends object>(api: Api, module: M): M =>
  Object.fromEntries(
    Object.entries(module).map(([name, value]) => {
      if (/^to\w+Body$/.test(name)) return [name, checked(api, value)]
      if (!name.endsWith('Adapter')) return [name, value]
      const adapter: Adapter = { ...value, body: checked(api, value.body) }
      return [name, adapter]
    }),
  ) as M

vi.mock(import('../../src/models/adapters/chat.ts'), async (original) =>
  withChecks('chat', await original()),
)
vi.mock(import('../../src/models/adapters/responses.ts'), async (original) =>
  withChecks('responses', await original()),
)
vi.mock(import('../../src/models/adapters/messages.ts'), async (original) =>
  withChecks('messages', await original()),
)
vi.mock(import('../../src/models/adapters/gemini.ts'), async (original) =>
  withChecks('gemini', await original()),
)
vi.mock(import('../../src/models/adapters/ollama.ts'), async (original) =>
  withChecks('ollama', await original()),
)

vi.mock(import('../../src/models/patient-fetch.ts'), async (original) => {
  const real = await original()
  const { patientFetch } = real
  return {
    ...real,
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
      // Tests also send requests of their own.
      if (headers['user-agent'] === 'retrai') check('chat', JSON.parse(text))
      return readRequest(text, headers)
    },
  }
})
