import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import * as z from 'zod'
import { ALL_KINDS } from '../../../src/domain/records.ts'
import {
  agentDoes,
  CLAIM,
  createRun,
  iteration,
  json,
  startTestServer,
  type TestServer,
} from '../support.ts'

const Reference = z.strictObject({ $ref: z.string().startsWith('#/') })
/** The parts of AsyncAPI 3.0 that the document uses. */
const Document = z.strictObject({
  asyncapi: z.literal('3.0.0'),
  info: z.strictObject({
    title: z.string(),
    version: z.string(),
    description: z.string(),
    license: z.strictObject({ name: z.string() }),
  }),
  defaultContentType: z.literal('application/json'),
  servers: z.record(
    z.string(),
    z.strictObject({ host: z.string().min(1), protocol: z.string(), description: z.string() }),
  ),
  channels: z.record(
    z.string().regex(/^[\w-]+$/),
    z.strictObject({
      address: z.string(),
      title: z.string().min(1),
      messages: z.record(z.string(), Reference),
      parameters: z.record(z.string(), z.strictObject({ description: z.string() })),
      bindings: z.strictObject({
        ws: z.strictObject({
          method: z.literal('GET'),
          query: z.looseObject({
            type: z.literal('object'),
            properties: z.record(z.string(), z.unknown()),
          }),
          bindingVersion: z.literal('0.1.0'),
        }),
      }),
      'x-close-codes': z.record(z.string(), z.string()),
    }),
  ),
  operations: z.record(
    z.string(),
    z.strictObject({
      action: z.literal('send'),
      channel: Reference,
      summary: z.string().min(1),
      description: z.string().min(1),
      security: z.array(Reference),
    }),
  ),
  components: z.strictObject({
    messages: z.record(
      z.string(),
      z.strictObject({ name: z.string(), title: z.string(), payload: Reference }),
    ),
    schemas: z.record(z.string(), z.record(z.string(), z.unknown())),
    securitySchemes: z.record(z.string(), z.looseObject({ type: z.literal('http') })),
  }),
})
type Document = z.infer<typeof Document>

let server: TestServer
let text: string
let document: Document
beforeAll(async () => {
  server = await startTestServer()
  text = await (await fetch(`${server.url}/asyncapi.json`)).text()
  document = Document.parse(JSON.parse(text))
})
afterAll(() => server.stop())

const validators = new Map<string, z.ZodType>()
/** The schema of a message, with all schemas that it refers to. */
function validatorOf(message: string): z.ZodType {
  const known = validators.get(message)
  if (known !== undefined) return known
  const { payload } = document.components.messages[message] ?? {}
  const whole = JSON.stringify({ ...payload, $defs: document.components.schemas })
  const local = whole.replaceAll('#/components/schemas/', '#/$defs/')
  const validator = z.fromJSONSchema(JSON.parse(local))
  validators.set(message, validator)
  return validator
}

/** The messages of a channel that a frame fits. */
const messagesFor = (channel: string, frame: unknown): string[] =>
  Object.keys(document.channels[channel]?.messages ?? {}).filter(
    (message) => validatorOf(message).safeParse(frame).success,
  )

/** All frames of a socket, and its close code. `leave` returns true for the frame after which the client closes. */
async function listen(
  path: string,
  leave = (_frame: unknown) => false,
): Promise<{ readonly frames: readonly unknown[]; readonly code: number }> {
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}${path}`)
  const frames: unknown[] = []
  socket.on('message', (data: Buffer) => {
    const frame: unknown = JSON.parse(data.toString())
    frames.push(frame)
    if (leave(frame)) socket.close(1000)
  })
  const [code] = z.tuple([z.number(), z.unknown()]).parse(await once(socket, 'close'))
  return { frames, code }
}

const kindOf = (frame: unknown): string => z.looseObject({ kind: z.string() }).parse(frame).kind

/** A run that has gone through everything that a person and the agent of the test can do. */
async function endedRun(): Promise<string> {
  const runId = await createRun(server)
  await agentDoes(server, runId, CLAIM)
  const change = json('PATCH', { max_iterations: 30, reason: 'It needs more' })
  const changed = await fetch(`${server.url}/api/runs/${runId}/config`, change)
  expect(changed.status).toBe(200)
  await agentDoes(server, runId, ...iteration(false), ...iteration(true))
  return runId
}

describe('the description of the sockets', () => {
  test('names the server, both addresses, their parameters and their close codes', () => {
    expect(Object.values(document.servers)).toMatchObject([
      { host: `127.0.0.1:${server.port}`, protocol: 'ws' },
    ])
    const { watchRun, watchAll } = document.channels
    expect([watchRun?.address, watchAll?.address]).toEqual(['/api/ws/{run_id}', '/api/ws'])
    expect(Object.keys(watchRun?.parameters ?? {})).toEqual(['run_id'])
    expect(watchAll?.parameters).toEqual({})
    const queries = [watchRun, watchAll].map((channel) =>
      Object.keys(channel?.bindings.ws.query.properties ?? {}).sort(),
    )
    expect(queries).toEqual([
      ['after', 'caught_up', 'kinds', 'live', 'meta'],
      [
        'after',
        'caught_up',
        'from_ts',
        'goal',
        'kinds',
        'live',
        'meta',
        'run_id',
        'status',
        'to_ts',
      ],
    ])
    const codes = ['1000', '1001', '1011', '1013', '4400', '4401', '4404']
    expect(Object.keys(watchRun?.['x-close-codes'] ?? {})).toEqual(codes)
  })

  test('has a message for each kind, and refers to nothing that is missing', () => {
    for (const { messages } of Object.values(document.channels)) {
      const names = Object.keys(messages).map((name) => document.components.messages[name]?.name)
      expect(new Set(names)).toEqual(new Set([...ALL_KINDS, 'caught_up', 'part', 'parts_end']))
    }
    for (const [, path = ''] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const target = path
        .split('/')
        .reduce<unknown>(
          (part, key) => z.record(z.string(), z.unknown()).parse(part)[key],
          document,
        )
      expect(target, path).toBeDefined()
    }
    const used = new Set([...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, n]) => n))
    expect(used).toEqual(new Set(Object.keys(document.components.schemas)))
  })

  test('fits each frame of a run, with and without metadata', async () => {
    const runId = await endedRun()
    for (const query of ['kinds=all', 'kinds=all&meta=true&caught_up=true']) {
      const { frames, code } = await listen(`/api/ws/${runId}?${query}`)
      expect(frames.length).toBeGreaterThan(10)
      for (const frame of frames) expect(messagesFor('watchRun', frame)).toHaveLength(1)
      expect(document.channels.watchRun?.['x-close-codes']).toHaveProperty(String(code))
    }
  })

  test('fits each frame of all runs', async () => {
    await endedRun()
    const isCaughtUp = (frame: unknown) => kindOf(frame) === 'caught_up'
    const { frames } = await listen('/api/ws?kinds=all&meta=true&caught_up=true', isCaughtUp)
    expect(frames.length).toBeGreaterThan(10)
    for (const frame of frames) expect(messagesFor('watchAll', frame)).toHaveLength(1)
  })

  test.each([
    ['watchRun', `/api/ws/${randomUUID()}`, 4404],
    ['watchRun', '/api/ws/no-run', 4404],
    ['watchRun', `/api/ws/${randomUUID()}?after=x`, 4400],
    ['watchAll', '/api/ws?status=x', 4400],
    ['watchAll', '/api/ws?after=none.1', 4400],
  ])('fits the refusal of %s %s', async (channel, path, expected) => {
    const { frames, code } = await listen(path)
    expect(code).toBe(expected)
    expect(frames).toHaveLength(1)
    expect(messagesFor(channel, frames[0])).toContain('Refusal')
    expect(document.channels[channel]?.['x-close-codes']).toHaveProperty(String(code))
  })

  test('accepts no frame with the payload of another kind', () => {
    const frame = {
      kind: 'step_start',
      run_id: randomUUID(),
      iteration: 1,
      ts: 1,
      payload: { message: '', traceback: '' },
      seq: 3,
    }
    expect(messagesFor('watchRun', frame)).toEqual([])
    expect(messagesFor('watchRun', { ...frame, payload: { node: 'act' } })).toEqual([
      'StepStartEvent',
    ])
  })
})
