import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { LogNoteQuery, TileParams } from '../../api/audit-requests.ts'
import { LogState } from '../../api/log.ts'
import type { Audit, AuditError } from '../../audit/audit.ts'
import { described, operation } from '../operation.ts'
import { orProblem, type Refusal } from '../problems/problem-of.ts'
import { sendStream } from '../replies/format.ts'

const TEXT = 'text/plain'
const TILE = 'application/octet-stream'
const AS_C2SP = 'As C2SP describes it'
const BASE = { tag: 'audit' } as const

/** What the log of checkpoints has; a problem if it does not have that. */
const existing = <T>(read: ResultAsync<T | null, AuditError>): ResultAsync<T, Refusal> =>
  read.andThen(orProblem({ code: 'not_found' }))

const sendNote = (reply: FastifyReply, note: string): FastifyReply =>
  sendStream(
    reply.header('cache-control', 'no-cache'),
    `${TEXT}; charset=utf-8`,
    Readable.from([note]),
  )

/** The log of all checkpoints that this server has signed, for witnesses and others who follow it (C2SP). */
export function log(app: FastifyInstance, audit: Audit): void {
  operation(app, 'GET /api/log', {
    ...BASE,
    needs: 'checkpoints:read',
    id: 'showLog',
    summary: 'The log of all checkpoints that this server has signed, and who has seen it',
    answers: { 200: described('The log', LogState) },
    handle: () => audit.log.state(),
  })
  operation(app, 'GET /api/log/checkpoint', {
    ...BASE,
    needs: 'checkpoints:read',
    id: 'readLogCheckpoint',
    summary: 'The newest note about the log (tlog-checkpoint), with its cosignatures',
    query: LogNoteQuery,
    answers: { 200: described(AS_C2SP, z.string(), TEXT) },
    handle: ({ query }, reply) =>
      existing(audit.log.note(query.size)).map((note) => sendNote(reply, note)),
  })
  operation(app, 'GET /api/log/key', {
    ...BASE,
    needs: 'runs:verify',
    id: 'readLogKey',
    summary: 'The key that signs the notes about the log, as witnesses need it (signed-note)',
    answers: { 200: described(AS_C2SP, z.string(), TEXT) },
    handle: (_request, reply) => audit.log.key().map((line) => sendNote(reply, `${line}\n`)),
  })
  operation(app, 'GET /api/log/tile/*', {
    ...BASE,
    needs: 'checkpoints:read',
    id: 'readLogTile',
    summary:
      'A tile of the tree, or a bundle of its entries: checkpoints in canonical form (tlog-tiles)',
    params: TileParams,
    answers: { 200: described(AS_C2SP, z.string(), TILE) },
    handle: ({ params }, reply) =>
      existing(audit.log.tile(params['*'])).map((tile) => {
        // It never changes, and only auditors may read it.
        reply.header('cache-control', 'private, max-age=31536000, immutable')
        return sendStream(reply, TILE, Readable.from([tile]))
      }),
  })
}
