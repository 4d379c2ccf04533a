import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { err, ok, type Result } from 'neverthrow'
import { PAGE_LIMIT } from '../../api/event-query.ts'
import type { Problem } from '../../api/problems.ts'
import { whenClosed } from '../../lib/when-closed.ts'
import { type EncodedFrame, type Frame, payloadOf } from '../live/frame.ts'
import { ProblemError } from '../problems/problem.ts'
import { NDJSON, sendStream } from './format.ts'

/**
 * Makes the JSON of values that never change, once for each value while it is in use. This JSON is not checked against
 * the schema of the response again: the types and the tests do that.
 */
export function jsonOnce<T extends object>(view: (value: T) => unknown): (value: T) => string {
  const made = new WeakMap<T, string>()
  return (value) => {
    const known = made.get(value)
    if (known !== undefined) return known
    const json = JSON.stringify(view(value))
    made.set(value, json)
    return json
  }
}

/** Answers with JSON that is text already. */
export function sendJson(reply: FastifyReply, json: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').serializer(asItIs).send(json)
}

const asItIs = (body: string): string => body

/** The Link header that leads to the next page. @param parameter of the query, which says where that begins */
export function nextLink(url: string, parameter: string, value: string): string {
  const [path = ''] = url.split('?', 1)
  const next = new URLSearchParams(url.slice(path.length))
  next.set(parameter, value)
  return `<${path}?${next}>; rel="next"`
}

/** What is sent, with the `after` of what follows it. */
export type Item = Omit<EncodedFrame, 'start'> & Pick<Frame, 'place'>
/** What is stored, page by page, and which of it the client wants. */
export type Source<I extends Item> = {
  history(signal: AbortSignal): AsyncGenerator<Result<readonly I[], Problem>, void, void>
  wants(item: I, signal: AbortSignal): boolean | Promise<boolean>
}

/** Sends what is stored: a line for each record, or a page. */
export const sendStored = <I extends Item>(
  request: FastifyRequest,
  reply: FastifyReply,
  source: Source<I>,
  { format, limit }: { readonly format: string; readonly limit: number | undefined },
): Promise<Result<FastifyReply, Problem>> | Result<FastifyReply, Problem> =>
  format === NDJSON
    ? ok(sendLines(reply, source, limit))
    : sendPage(request, reply, source, limit ?? PAGE_LIMIT)

/**
 * The limits of a JSON page: it ends before it passes one of them, and its Link header continues after it. A record
 * that is larger by itself is a page of its own.
 */
export const MAX_PAGE_BYTES = 512 * 1024
const MAX_LOOKED_AT = 50_000

async function sendPage<I extends Item>(
  request: FastifyRequest,
  reply: FastifyReply,
  source: Source<I>,
  limit: number,
): Promise<Result<FastifyReply, Problem>> {
  const frames: string[] = []
  let bytes = 2
  let lookedAt = 0
  let next = ''
  const send = () => ok(sendJson(reply, `[${frames.join(',')}]`))
  const sendAndContinue = () => {
    reply.header('link', nextLink(request.url, 'after', next))
    return send()
  }
  const signal = whileOpen(reply)
  for await (const read of source.history(signal)) {
    if (read.isErr()) {
      // This page has the records before the damaged one; the next page reports the damage.
      const isNext = read.error.code === 'damaged_record' && lookedAt > 0
      return isNext ? sendAndContinue() : err(read.error)
    }
    for (const item of read.value) {
      if (await source.wants(item, signal)) {
        const data = payloadOf(item)
        bytes += data.length + 1
        if (frames.length > 0 && bytes > MAX_PAGE_BYTES) return sendAndContinue()
        frames.push(data.toString())
      }
      lookedAt += 1
      next = String(item.place)
      if (frames.length >= limit || lookedAt >= MAX_LOOKED_AT) return sendAndContinue()
    }
  }
  return send()
}

/** Sends all that is stored, a frame a line. If that fails, the connection breaks off. */
function sendLines<I extends Item>(
  reply: FastifyReply,
  source: Source<I>,
  limit = Number.POSITIVE_INFINITY,
): FastifyReply {
  const body = lines(source, limit, whileOpen(reply))
  return sendStream(reply, NDJSON, Readable.from(body, { objectMode: false }))
}

const END_OF_LINE = Buffer.from('\n')
/** About how much is written at once. */
const CHUNK_BYTES = 256 * 1024

/** @throws at a record that cannot be read, and when `signal` aborts, so that a part never looks complete */
async function* lines<I extends Item>(
  source: Source<I>,
  limit: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  let left = limit
  let pieces: Buffer[] = []
  let bytes = 0
  for await (const read of source.history(signal)) {
    if (read.isErr()) throw new ProblemError(read.error)
    for (const item of read.value) {
      if (left === 0) break
      if (!(await source.wants(item, signal))) continue
      signal.throwIfAborted()
      const data = payloadOf(item)
      pieces.push(data, END_OF_LINE)
      bytes += data.length
      left -= 1
      if (bytes < CHUNK_BYTES) continue
      yield Buffer.concat(pieces)
      pieces = []
      bytes = 0
    }
    if (left === 0) break
  }
  signal.throwIfAborted()
  if (pieces.length > 0) yield Buffer.concat(pieces)
}

/** Aborts when the client has left, or has its answer. */
function whileOpen({ raw }: FastifyReply): AbortSignal {
  const leave = new AbortController()
  whenClosed(raw, () => leave.abort())
  return leave.signal
}
