import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import { After, PAGE_LIMIT, pageLimit, Seconds } from '../../api/event-query.ts'
import { RunId } from '../../api/run-id.ts'
import type { Audit } from '../../audit/audit.ts'
import { ACCESS_KINDS, type AccessEntry, type AccessKind } from '../../domain/access.ts'
import type { Logged } from '../../log/codec.ts'
import { preferred } from '../accept.ts'
import { AUDIT_PROBLEMS, auditProblem } from '../problems/audit-problem.ts'
import { problems, sendProblem } from '../problems/problem.ts'
import { sendStream } from '../send-stream.ts'
import type { ZodApp } from '../zod-app.ts'
import { NDJSON } from './format.ts'
import { JsonPage } from './json-page.ts'

const KINDS: ReadonlyMap<string, AccessKind> = new Map(ACCESS_KINDS.map((kind) => [kind, kind]))

const Query = z.strictObject({
  after: After.optional().meta({
    description:
      'Only entries behind this seq: with larger ones forward, with smaller ones backward',
    examples: ['213'],
  }),
  limit: pageLimit,
  direction: z.enum(['forward', 'backward']).default('forward'),
  kinds: z
    .string()
    .transform((text, context): ReadonlySet<AccessKind> => {
      const kinds = text.split(',').map((name) => KINDS.get(name))
      if (kinds.includes(undefined)) context.addIssue(`must be some of ${ACCESS_KINDS.join(', ')}`)
      return new Set(kinds.filter((kind) => kind !== undefined))
    })
    .optional()
    .meta({
      description: `Only these kinds, separated by commas: ${ACCESS_KINDS.join(', ')}`,
      examples: ['run_exported,watch_ended'],
    }),
  run_id: RunId.optional().meta({ description: 'Only what was about this run' }),
  principal: z.string().optional().describe('Only of this person or program'),
  from_ts: Seconds.optional().meta({
    description: 'Only what was not over before this, in seconds since the epoch',
    examples: ['1771416000'],
  }),
  to_ts: Seconds.optional().meta({
    description: 'Only what began before this, in seconds since the epoch',
    examples: ['1771419600.5'],
  }),
})
type Query = z.output<typeof Query>

const EXAMPLE = {
  seq: 213,
  kind: 'run_exported',
  ts: 1771416193.25,
  payload: {
    run_id: '550e8400-e29b-41d4-a716-446655440000',
    principal: 'alice',
    client: '10.0.0.7',
    operation: 'exportRun',
    asked: '',
    count: 1,
    first_ts: 1771416193.25,
    last_ts: 1771416193.25,
  },
}

const AccessFrame = z
  .object({
    seq: z.int().describe('Place in the access log: 0, 1, 2 … without gaps'),
    kind: z.enum(ACCESS_KINDS),
    ts: z.number().describe('When it was written down, seconds since the epoch'),
    payload: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AccessFrame', examples: [EXAMPLE] })

const DESCRIPTION = `
Who was shown what of the runs, as the server has noted it. It is a ledger: chained by hashes like the records
of a run, proved by \`GET /api/access/proof\`, verified with the runs by \`retrai verify\`.

- What is equal but for its time (who, from where, which run, which address) is noted at once, and what
  comes within a minute behind it is one entry with \`count\`, \`first_ts\` and \`last_ts\`; \`asked\` is then that of
  the last, and \`queries\` lists what the others have asked for, each with its count. Where that is too much, \`unlisted\`
  says how many are not in the list. A query of more than 300 characters ends with \`#\` and a hash of the whole.
- \`run_watched\` and \`feed_watched\` are noted when records begin to be sent, \`watch_ended\` when that is over: \`last\` is
  the seq (in the feed: the cursor) of the last record sent, \`seconds\` how long it was watched.
- \`access_refused\` is an answer with status 401 or 403. Of those whom nobody knows only the address is kept.
- \`entries_lost\` says how many entries could not be kept, since the store did not take them.

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
      summary: 'Who was shown what: the access log',
      description: DESCRIPTION,
      querystring: Query,
      response: {
        200: {
          description:
            'Where a page is not the last, its Link header holds the address of the next: `<…>; rel="next"`',
          content: {
            'application/json': { schema: z.array(AccessFrame).meta({ examples: [[EXAMPLE]] }) },
            [NDJSON]: { schema: AccessFrame },
          },
        },
        ...problems('invalid_request', 'not_acceptable', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const format = preferred(request.headers.accept, ['application/json', NDJSON])
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

function selects(query: Query, { record: { kind, payload } }: LoggedAccess): boolean {
  const { kinds, run_id, principal, from_ts = 0, to_ts = Number.POSITIVE_INFINITY } = query
  if (kinds !== undefined && !kinds.has(kind)) return false
  if (payload.last_ts < from_ts || payload.first_ts >= to_ts) return false
  // Nobody knows whom or what entries that were lost have been about.
  if (!('principal' in payload)) return true
  if (run_id !== undefined && payload.run_id !== run_id) return false
  return principal === undefined || payload.principal === principal
}

async function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  query: Query,
  audit: Audit,
): Promise<FastifyReply> {
  const page = new JsonPage(query.limit ?? PAGE_LIMIT)
  let last: number | null = null
  for await (const read of audit.accesses(query)) {
    if (read.isErr()) return sendProblem(request, reply, auditProblem(read.error, request))
    for (const entry of read.value) {
      const frame = selects(query, entry) ? frameOf(entry) : null
      if (!page.add(frame)) return page.send(request, reply, String(last))
      last = entry.seq
      if (page.full) return page.send(request, reply, String(entry.seq))
    }
  }
  return page.send(request, reply, null)
}

/** @throws where the log cannot be read on: what breaks off must not look complete */
async function* lines(query: Query, audit: Audit): AsyncGenerator<string> {
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
