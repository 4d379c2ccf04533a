import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { err, errAsync, ok, type ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { LogState } from '../../api/audit.ts'
import { LogNoteQuery, TileParams } from '../../api/audit-requests.ts'
import type { Problem } from '../../api/problems.ts'
import type { Audit, AuditError } from '../../audit/audit.ts'
import type { ZodApp } from '../deps.ts'
import { AUDIT_PROBLEMS, described, problems, sendResult } from '../problems/problem.ts'
import { auditProblem } from '../problems/problem-of.ts'
import { sendStream } from '../replies/format.ts'

const TEXT = 'text/plain; charset=utf-8'
const BYTES = 'application/octet-stream'
/** What is here never changes. It may be read by auditors only. */
const FOR_EVER = 'private, max-age=31536000, immutable'

/** The log of all checkpoints that this server has signed, for witnesses and others who follow it. */
export function log(app: ZodApp, audit: Audit): void {
  showLog(app, audit)
  readNote(app, audit)
  readKey(app, audit)
  readTile(app, audit)
}

type Log = NonNullable<Audit['log']>
type Read<T> = (log: Log) => ResultAsync<T | null, AuditError>

/** What the log has; a problem if it does not have that. */
const readLog = <T>({ log: it }: Audit, request: FastifyRequest, read: Read<T>) =>
  it === undefined
    ? errAsync<T, Problem>({ code: 'not_found' })
    : read(it)
        .mapErr(auditProblem(request))
        .andThen((found) => (found === null ? err<T, Problem>({ code: 'not_found' }) : ok(found)))

const send = (reply: FastifyReply, type: string, caching: string) => (content: string | Buffer) =>
  sendStream(reply.header('cache-control', caching), type, Readable.from([Buffer.from(content)]))

function showLog(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/log',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'showLog',
      tags: ['audit'],
      summary: 'The log of all checkpoints that this server has signed, and who has seen it',
      description: 'A Merkle tree (RFC 6962), which the witnesses of RETRAI_WITNESSES follow.',
      response: {
        200: described('The log', LogState),
        ...problems('not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) =>
      sendResult(
        request,
        reply,
        readLog(audit, request, (it) => it.state()),
      ),
  })
}

function readNote(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/log/checkpoint',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'readLogCheckpoint',
      tags: ['audit'],
      summary: 'The newest note about the log (C2SP tlog-checkpoint), with its cosignatures',
      querystring: LogNoteQuery,
      response: {
        200: described('The note', z.string(), TEXT),
        ...problems('not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const note = readLog(audit, request, (it) => it.note(request.query.size))
      return sendResult(request, reply, note.map(send(reply, TEXT, 'no-cache')))
    },
  })
}

function readKey(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/log/key',
    config: { needs: 'runs:verify' },
    schema: {
      operationId: 'readLogKey',
      tags: ['audit'],
      summary:
        'The key that signs the notes about the log, as witnesses need it (C2SP signed-note)',
      response: {
        200: described('The key, in one line', z.string(), TEXT),
        ...problems('not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const key = readLog(audit, request, (it) => it.key().map((line) => `${line}\n`))
      return sendResult(request, reply, key.map(send(reply, TEXT, 'no-cache')))
    },
  })
}

function readTile(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/log/tile/*',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'readLogTile',
      tags: ['audit'],
      summary: 'A tile of the tree, or a bundle of its entries (C2SP tlog-tiles)',
      description:
        'An entry is the canonical form of a checkpoint, with its signature. All answers can be kept for ever.',
      params: TileParams,
      response: {
        200: described('Hashes, or entries', z.string().meta({ format: 'binary' }), BYTES),
        ...problems('not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const tile = readLog(audit, request, (it) => it.tile(request.params['*']))
      return sendResult(request, reply, tile.map(send(reply, BYTES, FOR_EVER)))
    },
  })
}
