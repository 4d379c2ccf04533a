import type { FastifyInstance } from 'fastify'
import * as z from 'zod'
import packageJson from '../../../package.json' with { type: 'json' }
import { CLOSE_CODES, CLOSE_MEANINGS } from '../../api/close-codes.ts'
import { frameSchemas } from '../../api/frames.ts'
import { jsonSchemas, schemaRef, usedSchemas } from './json-schemas.ts'

/** The operations that open sockets. */
const SOCKETS = ['watchRun', 'watchAll'] as const
type SocketName = (typeof SOCKETS)[number]

/** The route of a socket, as it is registered. */
type SocketRoute = {
  readonly url: string
  readonly summary: string
  readonly description: string
  /** A zod schema. */
  readonly query: unknown
}

const isSocket = (operationId: string | undefined): operationId is SocketName =>
  SOCKETS.some((name) => name === operationId)

/** Describes the sockets among the routes that are registered after it, at /asyncapi.json, as AsyncAPI 3. */
export function describeSockets(app: FastifyInstance): void {
  const routes = new Map<SocketName, SocketRoute>()
  app.addHook('onRoute', ({ url, schema: { operationId, ...schema } = {} }) => {
    if (!isSocket(operationId)) return
    const { summary = '', description = '', querystring: query } = schema
    routes.set(operationId, { url, summary, description, query })
  })
  let described: object | undefined
  app.route({
    method: 'GET',
    url: '/asyncapi.json',
    schema: { hide: true },
    handler: async ({ host, protocol }) => {
      described ??= describe(routes)
      const server = {
        host: host || 'localhost',
        protocol: protocol === 'https' ? 'wss' : 'ws',
        description: 'This server',
      }
      return { ...described, servers: { here: server } }
    },
  })
}

function describe(routes: ReadonlyMap<SocketName, SocketRoute>): object {
  const channels = [...routes].map(([name, route]) => [name, channelOf(name, route)] as const)
  const operations = [...routes].map(([name, { summary, description }]) => {
    const channel = { $ref: `#/channels/${name}` }
    const security = [{ $ref: '#/components/securitySchemes/token' }]
    return [name, { action: 'send', channel, summary, description, security }] as const
  })
  const messages = Object.fromEntries(
    [...routes.keys()].flatMap((name) =>
      frameSchemas().sockets[name].map((frame) => [nameOf(frame), messageOf(frame)] as const),
    ),
  )
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'retrAI, live',
      version: packageJson.version,
      description:
        'The WebSockets of a retrAI server. They send records as JSON text frames and read nothing. ' +
        'The rest of the API is described at /openapi.json.',
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    channels: Object.fromEntries(channels),
    operations: Object.fromEntries(operations),
    components: {
      messages,
      schemas: usedSchemas(messages, jsonSchemas()),
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'A token, on a server that has tokens. A browser sends a ticket instead',
        },
      },
    },
  }
}

const nameOf = (frame: z.ZodType): string => z.globalRegistry.get(frame)?.id ?? ''

type CloseName = keyof typeof CLOSE_CODES
type SocketFrame = ReturnType<typeof frameSchemas>['sockets'][SocketName][number]

function messageOf(frame: SocketFrame): object {
  const { kind } = frame.shape
  return { name: kind.value, title: nameOf(frame), payload: { $ref: schemaRef(nameOf(frame)) } }
}

function channelOf(name: SocketName, { url, summary, query }: SocketRoute): object {
  const frames = frameSchemas().sockets[name].map(nameOf)
  const { $schema: _, ...asked } =
    query instanceof z.ZodType
      ? z.toJSONSchema(query, { io: 'input', target: 'draft-7', unrepresentable: 'any' })
      : {}
  return {
    address: url.replaceAll(/:(\w+)/g, '{$1}'),
    title: summary,
    messages: Object.fromEntries(
      frames.map((frame) => [frame, { $ref: `#/components/messages/${frame}` }]),
    ),
    parameters: url.includes(':run_id') ? { run_id: { description: 'The id of a run' } } : {},
    bindings: { ws: { method: 'GET', query: asked, bindingVersion: '0.1.0' } },
    'x-close-codes': Object.fromEntries(
      Object.entries(CLOSE_CODES).map(([name, code]) => [code, CLOSE_MEANINGS[name as CloseName]]),
    ),
  }
}
