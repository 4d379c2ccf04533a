import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'

/** What is wrong with one field of a request. `message` is a whole sentence for a person. */
export type FieldProblem = { readonly field: string; readonly message: string }

/**
 * Everything that can go wrong, as a client sees it. The code ends the `type` of the problem document;
 * `detail` is for where there is nothing more to say, and says what to do.
 */
const CATALOGUE = {
  bad_request: [400, 'Bad request', 'The request cannot be understood.'],
  malformed_json: [
    400,
    'Malformed JSON',
    'The body is not valid JSON. Correct it and send it again.',
  ],
  unauthenticated: [
    401,
    'Token needed',
    'This server asks for a token. Send it as "Authorization: Bearer <token>".',
  ],
  foreign_host: [
    403,
    'Foreign host name',
    'This server answers on localhost, 127.0.0.1 and [::1] only. Use one of them in the address.',
  ],
  foreign_origin: [
    403,
    'Foreign origin',
    'A page of another origin cannot use this server. Open the page from this server itself.',
  ],
  not_found: [404, 'Not found', 'There is nothing at this address. /docs shows what there is.'],
  run_not_found: [
    404,
    'Unknown run',
    'There is no such run. GET /api/runs lists the runs there are.',
  ],
  method_not_allowed: [405, 'Method not allowed', 'The Allow header names the methods there are.'],
  request_timeout: [408, 'Request timed out', 'The request did not arrive in time. Send it again.'],
  run_exists: [409, 'Run exists', 'There is a run with this id already.'],
  already_created: [409, 'Created before', 'The same request has created this run before.'],
  key_reused: [
    409,
    'Key used before',
    'This Idempotency-Key came with another request before. Use a new key for a new request.',
  ],
  run_ended: [409, 'Run has ended', 'The run has ended. Start a new one.'],
  not_awaiting_human: [
    409,
    'Nothing to decide',
    'The run waits for no decision now. Look at its status before you answer.',
  ],
  stale_decision: [
    409,
    'Outdated decision',
    'The decision answers a human check that is no longer open.',
  ],
  out_of_step: [409, 'Out of step', 'The run is doing something else by now. Read it again.'],
  too_large: [413, 'Too large', 'The body is larger than 1 MiB. Shorten it.'],
  append_too_large: [413, 'Too large', 'This is more than one record can hold. Shorten it.'],
  unsupported_media_type: [
    415,
    'Not JSON',
    'The body must be JSON and say so: Content-Type: application/json.',
  ],
  invalid_request: [422, 'Invalid request', 'The request has fields that are not valid.'],
  upgrade_required: [
    426,
    'WebSocket needed',
    'This address speaks WebSocket. Connect to it with a WebSocket client.',
  ],
  headers_too_large: [431, 'Headers too large', 'The headers are too large. Send fewer of them.'],
  internal: [500, 'Internal error', 'The server failed.'],
  damaged_record: [500, 'Damaged record', 'A record of this run cannot be read.'],
  store_unavailable: [
    503,
    'Store unavailable',
    'The event store cannot be reached, so nothing was done. Try again in a moment.',
  ],
  store_failed: [503, 'Store failed', 'The event store cannot do this.'],
  outcome_unknown: [
    503,
    'Outcome unknown',
    'The event store did not answer in time, so this may or may not be done. Read the run before you try again.',
  ],
  busy: [503, 'Too many writers', 'Others kept changing this run meanwhile. Try again.'],
  not_projected: [
    503,
    'Not ready yet',
    'The run exists, but the server has not read it to its end yet. Try again in a moment.',
  ],
} as const satisfies Record<string, readonly [status: number, title: string, detail: string]>

export type ProblemCode = keyof typeof CATALOGUE

export type Problem = {
  readonly code: ProblemCode
  /** One sentence or more for a person, in place of the catalogue's. */
  readonly detail?: string
  readonly errors?: readonly FieldProblem[]
}

/** RFC 9457. */
export const ProblemDocument = z
  .object({
    type: z.string().describe('Identifies the kind of problem: urn:retrai:problem:<code>'),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe('For a person: what is wrong and what to do'),
    instance: z.string().describe('The address that was asked for'),
    errors: z
      .array(z.object({ field: z.string(), message: z.string() }))
      .optional()
      .describe('Every problem of an invalid request'),
  })
  .register(z.globalRegistry, {
    id: 'Problem',
    description: 'A problem document, RFC 9457',
    examples: [
      {
        type: 'urn:retrai:problem:invalid_request',
        title: 'Invalid request',
        status: 422,
        detail: 'max_iterations must be at least 1.',
        instance: '/api/runs',
        errors: [{ field: 'max_iterations', message: 'max_iterations must be at least 1.' }],
      },
    ],
  })
type ProblemDocument = z.infer<typeof ProblemDocument>

const typeOf = (code: ProblemCode): string => `urn:retrai:problem:${code}`

export function problemDocument(
  { code, detail, errors }: Problem,
  instance: string,
): ProblemDocument {
  const [status, title, usual] = CATALOGUE[code]
  return {
    type: typeOf(code),
    title,
    status,
    detail: detail ?? usual,
    instance,
    ...(errors === undefined ? {} : { errors: [...errors] }),
  }
}

const RETRY_AFTER_SECONDS = '1'

export function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: Problem) {
  const document = problemDocument(problem, request.url)
  if (document.status === 503) reply.header('retry-after', RETRY_AFTER_SECONDS)
  return reply
    .code(document.status)
    .type('application/problem+json')
    .serializer((body: ProblemDocument) => JSON.stringify(body))
    .send(document)
}

type ProblemResponse = {
  description: string
  content: { 'application/problem+json': { schema: typeof ProblemDocument } }
}

/** The response schemas of these problems, by status, for the description of a route. */
export function problems(...codes: ProblemCode[]): Record<number, ProblemResponse> {
  const responses: Record<number, ProblemResponse> = {}
  for (const code of codes) {
    const [status, title] = CATALOGUE[code]
    const before = responses[status]?.description
    const line = `${title} (\`${typeOf(code)}\`)`
    responses[status] = {
      description: before === undefined ? line : `${before}; ${line}`,
      content: { 'application/problem+json': { schema: ProblemDocument } },
    }
  }
  return responses
}

/** Answers a request whose fields are not valid, with every problem named. */
export function sendInvalid(
  request: FastifyRequest,
  reply: FastifyReply,
  errors: readonly FieldProblem[],
) {
  const detail = errors.map(({ message }) => message).join(' ')
  return sendProblem(request, reply, { code: 'invalid_request', detail, errors })
}

/** What can happen to every request that has a body and writes to the log. */
export const COMMAND_PROBLEMS = [
  'malformed_json',
  'too_large',
  'append_too_large',
  'unsupported_media_type',
  'damaged_record',
  'store_unavailable',
  'store_failed',
  'outcome_unknown',
  'busy',
] as const satisfies readonly ProblemCode[]
