import { expect } from 'vitest'
import { json } from '../../support/server.ts'
import { test } from '../../support/test.ts'

test.for([
  ['GET', ''],
  ['GET', '/events'],
  ['GET', '/diff?from=0&to=0'],
  ['GET', '/conversation'],
  ['GET', '/artifacts/0'],
  ['GET', '/export'],
  ['GET', '/proof'],
  ['GET', '/redactions'],
  ['POST', '/abort'],
  ['POST', '/resume'],
  ['PATCH', '/config'],
  ['POST', '/redact'],
] as const)(
  'an id that is not a UUID is an unknown run: %s …%s',
  async ([method, path], { server }) => {
    const bodies: Record<string, object> = {
      '/abort': {},
      '/resume': { decision: 'approve' },
      '/config': { max_iterations: 3 },
      '/redact': { seq: 0, pointer: '', reason: 'a secret' },
    }
    const body = bodies[path]
    const url = `${server.url}/api/runs/no-run${path}`
    const answer = await fetch(url, body === undefined ? {} : json(method, body))
    expect(answer.status).toBe(404)
    expect(await answer.json()).toMatchObject({ type: 'urn:retrai:problem:run_not_found' })
  },
)
