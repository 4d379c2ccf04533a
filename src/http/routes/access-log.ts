import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import { AccessFrame } from '../../api/audit.ts'
import { ListAccessesQuery } from '../../api/audit-requests.ts'
import { PAGE_LIMIT } from '../../api/event-query.ts'
import type { Audit } from '../../audit/audit.ts'
import type { AccessEntry } from '../../domain/access.ts'
import type { Logged } from '../../log/codec.ts'
import type { ZodApp } from '../deps.ts'
import { AUDIT_PROBLEMS, problems, sendProblem } from '../problems/problem.ts'
import { auditProblem } from '../problems/problem-of.ts'
import { JSON_TYPE, NDJSON, preferred, sendStream } from '../replies/format.ts'
import { JsonPage } from '../replies/json.ts'

const DESCRIPTION = `
Who read what of the runs, as the server recorded it. It is a ledger: chained by hashes like the records of a run,
proved by \`GET /api/access/proof\`, verified with the runs by \`retrai verify\`.

- The server records an access at once. Accesses within the next minute that differ only in their time and their query
  become one entry with \`count\`, \`first_ts\` and \`last_ts\`; \`asked\` is then the query of the last one, and \`queries\`
  lists the others, each with its count. \`unlisted\` is how many are not in the list, because it would be too long. A
  query of more than 300 characters ends with \`#\` and a hash of the whole.
- \`run_watched\` and \`feed_watched\` are recorded when the server begins to send records, \`watch_ended\` when that is
  over: \`last\` is the seq of the last record sent (for all runs: its cursor), \`seconds\` how long the watch lasted.
- \`access_refused\` is an answer with status 401 or 403. If the caller is unknown, the entry holds only the address.
- \`entries_lost\` is how many entries could not be kept, because the store did not accept them.

The Accept header chooses between one page (\`application/json\`) and all of it as \`application/x-ndjson\`.
`

/** GET /api/access */
export function accesses(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/access',
    config: { needs: 'access:read' },
    exposeHeadRoute: false,
    schema: {
      operationId: 'listAccesses',
      tags: ['audit'],
      summary: 'Who read what: the access log',
      description: DESCRIPTION,
      querystring: ListAccessesQuery,
      response: {
        200: {
          description:
            'If a page is not the last, its Link header holds the address of the next: `<…>; rel="next"`',
          content: {
            [JSON_TYPE]: { schema: z.array(AccessFrame) },
            [NDJSON]: { schema: AccessFrame },
          },
        },
        ...problems('invalid_request', 'not_acceptable', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const format = preferred(request.headers.accept, [JSON_TYPE, NDJSON])
      if (format === null) return sendProblem(request, reply, { code: 'not_acceptable' })
      if (format !== NDJSON) return sendPage(request, reply, request.query, audit)
      return sendStream(reply, NDJSON, Readable.from(lines(request.query, audit)))
    },
  })
}

type LoggedAccess = Logged<AccessEntry>

function frameOf({ seq, record }: LoggedAccess): string {
  return JSON.stringify({ seq, ...record })
}

function selects(query: ListAccessesQuery, { record: { kind, payload } }: LoggedAccess): boolean {
  const { kinds, run_id, principal, from_ts = 0, to_ts = Number.POSITIVE_INFINITY } = query
  if (kinds !== undefined && !kinds.has(kind)) return false
  if (payload.last_ts < from_ts || payload.first_ts >= to_ts) return false
  // Nobody knows which callers or runs lost entries were about.
  if (!('principal' in payload)) return true
  if (run_id !== undefined && payload.run_id !== run_id) return false
  return principal === undefined || payload.principal === principal
}

async function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  query: ListAccessesQuery,
  audit: Audit,
): Promise<FastifyReply> {
  const page = new JsonPage(query.limit ?? PAGE_LIMIT)
  for await (const read of audit.accesses(query)) {
    if (read.isErr()) return sendProblem(request, reply, auditProblem(read.error, request))
    for (const entry of read.value) {
      const frame = selects(query, entry) ? frameOf(entry) : null
      if (page.add(frame, entry.seq)) return page.send(request, reply)
    }
  }
  return page.sendLast(reply)
}

/** @throws if the log cannot be read to its end, so that the response breaks off and does not look complete */
async function* lines(query: ListAccessesQuery, audit: Audit): AsyncGenerator<string> {
  let left = query.limit ?? Number.POSITIVE_INFINITY
  for await (const read of audit.accesses(query)) {
    if (read.isErr()) throw new Error(`the access log cannot be read: ${read.error.type}`)
    for (const entry of read.value) {
      if (!selects(query, entry)) continue
      yield `${frameOf(entry)}\n`
      left -= 1
      if (left === 0) return
    }
  }
}
