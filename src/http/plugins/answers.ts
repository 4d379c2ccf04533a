import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { constants, createBrotliCompress, createGzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply } from 'fastify'
import * as z from 'zod'
import { RunId } from '../../api/fields.ts'
import type { GrantedKind } from '../../domain/access.ts'
import { whenClosed } from '../../lib/when-closed.ts'
import type { Redactions } from '../deps.ts'
import type { LiveLimits } from '../live/deps.ts'
import { preferred } from '../replies/format.ts'
import { isWatch, shownBy } from './access-log.ts'

/**
 * What is common to all answers: a client that does not read its answer for `stallMs` is disconnected, and the rest of a
 * refused body is read.
 */
export function beforeSending(app: FastifyInstance, { stallMs }: LiveLimits): void {
  // Node checks progress once in each stallMs, so this takes up to twice as long.
  function watchStall(this: ServerResponse): void {
    if (this.writableLength > 0) this.destroy()
    // Only the server has nothing to send.
    else this.setTimeout(stallMs)
  }
  app.addHook('onSend', ({ raw }, { raw: response }, _payload, done) => {
    response.setTimeout(stallMs, watchStall)
    if (isUnread(raw)) void discardUnreadBody(raw).then(() => done(), done)
    else done()
  })
}

/** How much of a refused body the server reads before it answers, bytes. */
const DISCARD_BYTES = 16 * 1024 * 1024
/** How long it reads, milliseconds. */
const DISCARD_MS = 2000

/**
 * Reads the rest of a body that was refused; to be called before the response is sent. Otherwise a connection that
 * closes after the response resets while the client still writes, and the client never sees why it was refused.
 * Resolves at the end of the body, at one of the limits, or when the client leaves.
 */
export async function discardUnreadBody(request: IncomingMessage): Promise<void> {
  if (!isUnread(request)) return
  const ended = new AbortController()
  const end = (): void => ended.abort()
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > DISCARD_BYTES) end()
  })
  for (const event of ['end', 'close', 'error']) request.once(event, end)
  await sleep(DISCARD_MS, undefined, { signal: ended.signal }).catch(() => undefined)
}

const isUnread = (request: IncomingMessage): boolean =>
  !request.complete && hasBody(request) && !request.destroyed

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length']) > 0

/** The accesses that show texts of runs. */
const TEXTS: ReadonlySet<GrantedKind | undefined> = new Set<GrantedKind>([
  'runs_listed',
  'run_read',
  'feed_read',
])

/** How often the server looks whether a client has read its answer, milliseconds. */
const LOOK_MS = 20

/**
 * Ends the answers that began before a text of their run was redacted, or the artifact that they send, because they may hold it. First, their clients have
 * a moment to read them. An event stream only has to be read up to there.
 */
export function endOutdatedAnswers(
  app: FastifyInstance,
  redactions: Redactions,
  { redactedMs }: LiveLimits,
): void {
  /** Those that have not ended. */
  const answers = new Set<FastifyReply>()
  const note = (reply: FastifyReply): void => {
    answers.add(reply)
    whenClosed(reply.raw, () => answers.delete(reply))
  }
  app.addHook('onRequest', (request, reply, done) => {
    if (TEXTS.has(shownBy(request))) note(reply)
    done()
  })
  // Until then, an export notices by itself what is redacted, and begins again.
  app.addHook('onSend', (request, reply, _payload, done) => {
    if (shownBy(request) === 'run_exported') note(reply)
    done()
  })
  redactions.onRedacted(async (runId, artifacts) => {
    const end = performance.now() + redactedMs
    let outdated = [...answers].filter((reply) => shows(reply, runId, artifacts))
    for (;;) {
      await nextTurn()
      outdated = outdated.filter((reply) => !isRead(reply))
      if (outdated.length === 0 || performance.now() >= end) break
      await sleep(LOOK_MS)
    }
    for (const { raw } of outdated) raw.destroy()
  })
}

/** Whether an answer shows the run, all runs, or one of the artifacts. */
function shows({ request }: FastifyReply, runId: string, artifacts: ReadonlySet<string>): boolean {
  const { run_id, sha256 } = Shown.parse(request.params)
  return run_id === null || run_id === runId || artifacts.has(sha256)
}

const Shown = z.object({
  run_id: RunId.nullable().catch(null).default(null),
  sha256: z.string().default(''),
})

/** What a stream sends after that was read from the log again. */
const isRead = (reply: FastifyReply): boolean =>
  reply.raw.closed || (isWatch(reply) && reply.sent && reply.raw.writableLength === 0)

/** Texts, but no server-sent events: those must arrive one by one. */
const COMPRESSIBLE =
  /^(?:application\/(?:[\w.+-]*json|javascript)|text\/(?!event-stream)|image\/svg)/
/** A smaller answer would not arrive sooner. */
const MIN_BYTES = 1024

/** Fast: an answer is made for one client. What the build has compressed is smaller. */
const BROTLI = { [constants.BROTLI_PARAM_QUALITY]: 4, [constants.BROTLI_PARAM_LGWIN]: 19 }

/** The codings, the preferred first. A stream is sent on as it is made, so nothing waits in the compressor. */
const CODINGS = {
  br: () => createBrotliCompress({ params: BROTLI, flush: constants.BROTLI_OPERATION_FLUSH }),
  gzip: () => createGzip({ level: 4, flush: constants.Z_SYNC_FLUSH }),
} as const

/** Compresses texts for clients that accept it, in the threads of Node. */
export function compressAnswers(app: FastifyInstance): void {
  const compressed = new WeakSet<FastifyReply>()
  app.addHook('onSend', (request, reply, payload, done) => {
    // The stream has failed before anything of it was sent, so this is another answer.
    if (compressed.delete(reply)) reply.removeHeader('content-encoding')
    if (!isCompressible(reply, payload)) return done(null, payload)
    reply.header('vary', 'accept-encoding')
    const accepted = request.headers['accept-encoding'] || 'identity'
    const coding = accepted === 'identity' ? null : preferred(accepted, ['br', 'gzip', 'identity'])
    if (coding === null || coding === 'identity') return done(null, payload)
    reply.header('content-encoding', coding).removeHeader('content-length')
    compressed.add(reply)
    const body = payload instanceof Readable ? payload : Readable.from([Buffer.from(payload)])
    // If either fails or closes, so does the other: a part never looks complete.
    const stream = pipeline(body, CODINGS[coding](), () => {})
    done(null, stream)
  })
}

/** A download says how large it is. */
const isCompressible = (reply: FastifyReply, body: unknown): body is string | Buffer | Readable =>
  (body instanceof Readable ||
    ((typeof body === 'string' || Buffer.isBuffer(body)) && body.length >= MIN_BYTES)) &&
  reply.statusCode !== 206 &&
  !reply.hasHeader('content-disposition') &&
  !reply.hasHeader('content-encoding') &&
  COMPRESSIBLE.test(String(reply.getHeader('content-type')))
