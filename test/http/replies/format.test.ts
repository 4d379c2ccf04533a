import { expect, test } from 'vitest'
import { preferred } from '../../../src/http/replies/format.ts'

const OFFERED = ['application/json', 'application/x-ndjson', 'text/event-stream'] as const

test.each([
  [undefined, 'application/json'],
  ['', 'application/json'],
  ['*/*', 'application/json'],
  ['text/event-stream', 'text/event-stream'],
  ['Text/Event-Stream', 'text/event-stream'],
  ['text/*', 'text/event-stream'],
  ['application/*', 'application/json'],
  ['text/html, application/x-ndjson', 'application/x-ndjson'],
  ['application/json;q=0.5, application/x-ndjson', 'application/x-ndjson'],
  ['application/json;q=0.5, */*;q=0.8', 'application/x-ndjson'],
  ['*/*;q=0.1, text/event-stream;q=0.2', 'text/event-stream'],
  ['application/json;q=0, */*', 'application/x-ndjson'],
  ['application/json;charset=utf-8', 'application/json'],
  ['application/json;q=nonsense', null],
  ['*/*;q=0', null],
  ['text/html', null],
])('for %j, the preferred type is %j', (accept, taken) => {
  expect(preferred(accept, OFFERED)).toBe(taken)
})
