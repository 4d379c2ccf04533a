import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type {
  ConnectionError,
  FastifyError,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
} from 'fastify'
import { type Problem, type ProblemCode, problemDocument } from '../../api/problems.ts'
import { STATUS_CODES } from '../../lib/node-http.ts'
import { isPassing, ProblemError, RETRY_AFTER_SECONDS, sendProblem } from '../problems/problem.ts'
import { discardUnreadBody } from './answers.ts'
import { sendMissingPage, wantsPage } from './pages.ts'
import { SECURITY_HEADERS } from './security.ts'

/** The problems of requests that the framework refuses, by its error code. */
const FRAMEWORK: Readonly<Record<string, ProblemCode>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'malformed_json',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'malformed_json',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_INVALID_CONTENT_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_BODY_TOO_LARGE: 'too_large',
  FST_ERR_BAD_URL: 'not_found',
}

/** Answers every error for which a handler did not send a problem document itself. */
export function sendError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const problem = problemOfThrown(error, request)
  // No hook has run for a request that the framework refuses.
  reply.headers(SECURITY_HEADERS)
  if (problem.code === 'internal') request.log.error({ err: error }, 'a request failed')
  // Not returned: the framework would wait for the end of the answer once more, with more listeners on it.
  sendProblem(request, reply, problem)
}

function problemOfThrown(error: FastifyError, request: FastifyRequest): Problem {
  if (error instanceof ProblemError) return error.problem
  const code = FRAMEWORK[error.code]
  if (code !== undefined) return { code }
  const status = error.statusCode ?? 500
  if (status < 500) return { code: 'bad_request' }
  const detail = `The server failed. Its log has the reason, under the request id ${request.id}.`
  return { code: 'internal', detail }
}

/** Answers a request that is not HTTP, or that does not arrive. Only the socket can carry the answer. */
export function refuseConnection({ code }: ConnectionError, socket: Socket): void {
  if (!socket.writable || code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  endWithProblem(socket, { code: CONNECTION[code] ?? 'bad_request' })
}

/** Answers on a connection without a request, and closes it. */
export function endWithProblem(socket: Socket, problem: Problem): void {
  const document = problemDocument(problem, '/')
  const body = JSON.stringify(document)
  const retry = isPassing(document.status) ? { 'retry-after': RETRY_AFTER_SECONDS } : {}
  const headers = {
    ...SECURITY_HEADERS,
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(body),
    ...retry,
    connection: 'close',
  }
  const head = [
    `HTTP/1.1 ${document.status} ${STATUS_CODES[document.status]}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroySoon())
}

/** Answers an Expect header that asks for anything but 100-continue, which Node refuses by itself. */
export async function refuseExpectation(request: IncomingMessage): Promise<void> {
  await discardUnreadBody(request)
  endWithProblem(request.socket, { code: 'expectation_failed' })
}

const CONNECTION: Readonly<Record<string, ProblemCode>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
  HPE_HEADER_OVERFLOW: 'headers_too_large',
}

/** Answers addresses without a route: 405 if another method has one, else 404. `root`: the console's build. */
export function handleNotFound(app: FastifyInstance, root?: string): void {
  const routes: { readonly path: RegExp; readonly methods: readonly string[] }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    const path = new RegExp(`^${url.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+')}$`)
    routes.push({ path, methods: [method].flat() })
  })
  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?')
    const allowed = routes
      .filter((route) => route.path.test(path))
      .flatMap(({ methods }) => methods)
    if (allowed.length === 0) {
      return wantsPage(request)
        ? sendMissingPage(reply, root)
        : sendProblem(request, reply, { code: 'not_found' })
    }
    const allow = [...new Set(allowed)].sort().join(', ')
    const detail = `${request.method} is not possible here. Use ${allow}.`
    return sendProblem(request, reply.header('allow', allow), {
      code: 'method_not_allowed',
      detail,
    })
  })
}
