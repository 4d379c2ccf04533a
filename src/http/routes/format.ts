import type { FastifyRequest } from 'fastify'
import { err, ok, type Result } from 'neverthrow'
import { preferred } from '../accept.ts'
import { EVENT_STREAM } from '../live/sse.ts'
import type { FieldProblem, Problem } from '../problems/problem.ts'

export const NDJSON = 'application/x-ndjson'
const FORMATS = ['application/json', NDJSON, EVENT_STREAM] as const

type Format = (typeof FORMATS)[number]

/**
 * How a client wants records: by its Accept header. A stream is live, so what only a page can have is
 * refused there.
 */
export function formatOf(
  request: FastifyRequest,
  query: { readonly limit?: number | undefined; readonly direction?: string },
): Result<Format, Problem> {
  const format = preferred(request.headers.accept, FORMATS)
  if (format === null) {
    const detail = `This address answers ${FORMATS.join(', ')}; the Accept header names none of them.`
    return err({ code: 'not_acceptable', detail })
  }
  if (format !== EVENT_STREAM) return ok(format)
  const errors: FieldProblem[] = [
    ...(query.limit === undefined ? [] : [{ field: 'limit', message: notLive('limit') }]),
    ...(query.direction === 'backward'
      ? [{ field: 'direction', message: notLive('direction=backward') }]
      : []),
  ]
  if (errors.length === 0) return ok(format)
  const detail = errors.map(({ message }) => message).join(' ')
  return err({ code: 'invalid_request', detail, errors })
}

const notLive = (what: string): string => `${what} is not for ${EVENT_STREAM}, which is live.`

/** Where an EventSource that connects again has got to. */
export function lastEventId({ headers }: FastifyRequest): string | undefined {
  const given = headers['last-event-id']
  return typeof given === 'string' && given !== '' ? given : undefined
}
