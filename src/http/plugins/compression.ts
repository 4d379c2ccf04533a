import { pipeline, Readable } from 'node:stream'
import { constants, createBrotliCompress, createGzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { preferred } from '../replies/format.ts'

/** Texts, but no server-sent events: those must arrive one by one. */
const TEXTS = /^(?:application\/(?:[\w.+-]*json|javascript)|text\/(?!event-stream)|image\/svg)/
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
  TEXTS.test(String(reply.getHeader('content-type')))
