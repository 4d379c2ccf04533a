import { Readable } from 'node:stream'
import type { FastifyRequest, FastifySchema } from 'fastify'
import { err, errAsync, ok, type ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { LogNoteQuery, TileParams } from '../../api/audit-requests.ts'
import type { Permission } from '../../api/auth.ts'
import { LogState } from '../../api/log.ts'
import type { Problem } from '../../api/problems.ts'
import type { Audit, AuditError } from '../../audit/audit.ts'
import type { ZodApp } from '../deps.ts'
import { AUDIT_PROBLEMS, described, problems, sendResult } from '../problems/problem.ts'
import { auditProblem } from '../problems/problem-of.ts'
import { sendStream } from '../replies/format.ts'

const TEXT = 'text/plain'
const PROBLEMS = problems('not_found', ...AUDIT_PROBLEMS)

type Log = NonNullable<Audit['log']>
type Found<T> = ResultAsync<T | null, AuditError>

/** What the log of checkpoints has; a problem if it does not have that. */
const readLog = <T>({ log: it }: Audit, request: FastifyRequest, read: (log: Log) => Found<T>) =>
  it === undefined
    ? errAsync<T, Problem>({ code: 'not_found' })
    : read(it)
        .mapErr(auditProblem(request))
        .andThen((found) => (found === null ? err<T, Problem>({ code: 'not_found' }) : ok(found)))

/** The log of all checkpoints that this server has signed, for witnesses and others who follow it (C2SP). */
export function log(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/log',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'showLog',
      tags: ['audit'],
      summary: 'The log of all checkpoints that this server has signed, and who has seen it',
      response: { 200: described('The log', LogState), ...PROBLEMS },
    },
    handler: async (request, reply) =>
      sendResult(
        request,
        reply,
        readLog(audit, request, (it) => it.state()),
      ),
  })
  const serve = (content: Content): void => serveContent(app, audit, content)
  serve({
    url: '/api/log/checkpoint',
    operationId: 'readLogCheckpoint',
    summary: 'The newest note about the log (tlog-checkpoint), with its cosignatures',
    schema: { querystring: LogNoteQuery },
    read: (it, { query }) => it.note((query as z.output<typeof LogNoteQuery>).size),
  })
  serve({
    url: '/api/log/key',
    needs: 'runs:verify',
    operationId: 'readLogKey',
    summary: 'The key that signs the notes about the log, as witnesses need it (signed-note)',
    read: (it) => it.key().map((line) => `${line}\n`),
  })
  serve({
    url: '/api/log/tile/*',
    operationId: 'readLogTile',
    summary:
      'A tile of the tree, or a bundle of its entries: checkpoints in canonical form (tlog-tiles)',
    schema: { params: TileParams },
    type: 'application/octet-stream',
    // It never changes, and only auditors may read it.
    caching: 'private, max-age=31536000, immutable',
    read: (it, { params }) => it.tile((params as z.output<typeof TileParams>)['*']),
  })
}

type Content = {
  readonly url: string
  readonly needs?: Permission
  readonly operationId: string
  readonly summary: string
  readonly schema?: FastifySchema
  readonly type?: string
  readonly caching?: string
  readonly read: (log: Log, request: FastifyRequest) => Found<string | Buffer>
}

function serveContent(app: ZodApp, audit: Audit, content: Content): void {
  const { url, operationId, summary, schema, type = TEXT, caching = 'no-cache', read } = content
  app.route({
    method: 'GET',
    url,
    config: { needs: content.needs ?? 'checkpoints:read' },
    schema: {
      ...{ operationId, tags: ['audit'], summary, ...schema },
      response: { 200: described('As C2SP describes it', z.string(), type), ...PROBLEMS },
    },
    handler: async (request, reply) => {
      const found = readLog(audit, request, (it) => read(it, request))
      const sent = found.map((it) => {
        const charset = type === TEXT ? '; charset=utf-8' : ''
        const bytes = Readable.from([Buffer.from(it as string)])
        return sendStream(reply.header('cache-control', caching), `${type}${charset}`, bytes)
      })
      return sendResult(request, reply, sent)
    },
  })
}
