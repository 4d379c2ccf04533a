import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { err, ok, type Result } from 'neverthrow'
import type { FieldProblem, Problem } from '../../api/problems.ts'
import { invalidFields } from '../problems/problem-of.ts'

export const JSON_TYPE = 'application/json'
export const NDJSON = 'application/x-ndjson'
export const EVENT_STREAM = 'text/event-stream'
const FORMATS = [JSON_TYPE, NDJSON, EVENT_STREAM] as const

type Format = (typeof FORMATS)[number]

/** Whether the answer to a request for records is a stream, by its Accept header, and not a page. */
export function wantsStream({ headers }: Pick<FastifyRequest, 'headers'>): boolean {
  const format = preferred(headers.accept, FORMATS)
  return format === NDJSON || format === EVENT_STREAM
}

/** The form of records that a client wants, by its Accept header. A live stream refuses what only pages can have. */
export function formatOf(
  request: FastifyRequest,
  query: {
    readonly limit?: number | undefined
    readonly direction?: string
    readonly live?: boolean | undefined
  },
): Result<Format, Problem> {
  const format = preferred(request.headers.accept, FORMATS)
  if (format === null) {
    const detail = `This address answers ${FORMATS.join(', ')}; the Accept header names none of them.`
    return err({ code: 'not_acceptable', detail })
  }
  const isLive = format === EVENT_STREAM
  const wrong: FieldProblem[] = []
  const notLive = (what: string) => `${what} is not for ${EVENT_STREAM}, which is live.`
  if (isLive && query.limit !== undefined) wrong.push({ field: 'limit', message: notLive('limit') })
  if (isLive && query.direction === 'backward') {
    wrong.push({ field: 'direction', message: notLive('direction=backward') })
  }
  if (!isLive && query.live === true) {
    const message = `live=true is only for ${EVENT_STREAM}: name it in the Accept header, or use a WebSocket.`
    wrong.push({ field: 'live', message })
  }
  return wrong.length === 0 ? ok(format) : err(invalidFields(wrong))
}

/** Answers with a stream, which is made while it is sent. If that fails, the connection breaks off. */
export const sendStream = (reply: FastifyReply, type: string, stream: Readable): FastifyReply =>
  reply.type(type).send(stream)

/** The id of the last event that an EventSource got before it connected again. */
export function lastEventId({ headers }: FastifyRequest): string | undefined {
  const given = headers['last-event-id']
  return typeof given === 'string' && given !== '' ? given : undefined
}

/** The offered type that a client prefers by its Accept header (RFC 9110), or the first; null if it accepts none. For codings too. */
export function preferred<T extends string>(
  accept: string | undefined,
  offered: readonly T[],
): T | null {
  const ranges = (accept?.trim() || '*/*').split(',').map(parseRange)
  const weighed = offered.map((type) => ({ type, weight: weightOf(type, ranges) }))
  const best = weighed.toSorted((a, b) => b.weight - a.weight)[0]
  return best === undefined || best.weight <= 0 ? null : best.type
}

type Range = { readonly range: string; readonly weight: number }

function parseRange(text: string): Range {
  const [range = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase())
  const q = parameters.find((parameter) => parameter.startsWith('q='))
  const weight = q === undefined ? 1 : Number(q.slice(2))
  return { range, weight: weight >= 0 && weight <= 1 ? weight : 0 }
}

/** The most exact range that names the type decides. */
function weightOf(type: string, ranges: readonly Range[]): number {
  const [group] = type.split('/')
  for (const name of [type, `${group}/*`, '*/*', '*']) {
    const found = ranges.find(({ range }) => range === name)
    if (found !== undefined) return found.weight
  }
  return 0
}
