import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { err, type ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { LedgerName, LedgerProof } from '../../api/audit.ts'
import {
  AccessFrame,
  LedgerParams,
  ListAccessesQuery,
  LogNoteQuery,
  TileParams,
} from '../../api/audit-requests.ts'
import { LogState } from '../../api/log.ts'
import type { Audit, AuditError } from '../../audit/audit.ts'
import type { AccessEntry } from '../../domain/access.ts'
import { described, operation } from '../operation.ts'
import { orProblem, problemOf, type Refusal } from '../problems/problem-of.ts'
import { JSON_TYPE, NDJSON, preferred, sendStream } from '../replies/format.ts'
import { type Item, type Source, sendStored } from '../replies/json.ts'
import { KEEP_IT } from './proofs.ts'

const DESCRIPTION = `
Who read what of the runs, as the server recorded it. It is a ledger: chained by hashes like the records of a run,
proved by \`GET /api/access/proof\`, verified with the runs by \`retrai verify\`.

- The server records an access at once. Accesses within the next minute that differ only in their time and their query
  become one entry with \`count\`, \`first_ts\` and \`last_ts\`; \`asked\` is then the query of the last one. Entries of
  earlier versions list the others in \`queries\`, with counts, and count in \`unlisted\` those that are not in the list.
  A query of more than 300 characters ends with \`#\` and a hash of the whole.
- \`run_watched\` and \`feed_watched\` are recorded when the server begins to send records, \`watch_ended\` when that is
  over: \`last\` is the seq of the last record sent (for all runs: its cursor), \`seconds\` how long the watch lasted.
- \`access_refused\` is an answer with status 401 or 403. If the caller is unknown, the entry holds only the address.
- \`entries_lost\` is how many entries could not be kept, because the store did not accept them.

The Accept header chooses between one page (\`application/json\`) and all of it as \`application/x-ndjson\`.
`

/** The ledgers and their proofs, and the access log. */
export function ledgers(app: FastifyInstance, audit: Audit): void {
  operation(app, 'GET /api/ledgers', {
    needs: 'access:read',
    id: 'listLedgers',
    tag: 'audit',
    summary: 'A signed statement of each ledger that the log holds in addition to the runs',
    description:
      'A ledger is a stream of entries, chained by hashes like the records of a run: who read ' +
      'what (`access`), the tokens (`tokens`), the redactions (`redactions`), what was kept or removed by a ' +
      'rule (`retention`), later tags of runs (`tags`), who is sent word of them (`webhooks`).',
    answers: { 200: described('One proof for each ledger', z.array(LedgerProof)) },
    handle: () => audit.proveLedgers(),
  })
  operation(app, 'GET /api/ledgers/:name', {
    needs: 'access:read',
    id: 'readLedger',
    tag: 'audit',
    summary: 'All entries of a ledger, in the form in which they can be verified',
    description:
      'Lines with a checksum (docs/verification.md). `retrai verify --server URL` ' +
      'compares them with the proof. If the server cannot send them all, the response breaks off.',
    params: LedgerParams,
    // The server makes the lines while it sends them, so it has nothing to answer a HEAD with.
    exposeHeadRoute: false,
    answers: { 200: described('One JSON object a line', z.string(), NDJSON) },
    handle: ({ params }, reply) => {
      const name = LedgerName.safeParse(params.name)
      if (!name.success) return err({ code: 'not_found' })
      return sendStream(reply, NDJSON, audit.ledgerLines(name.data))
    },
  })
  operation(app, 'GET /api/access', {
    needs: 'access:read',
    id: 'listAccesses',
    tag: 'audit',
    summary: 'Who read what: the access log',
    description: DESCRIPTION,
    query: ListAccessesQuery,
    exposeHeadRoute: false,
    answers: {
      200: {
        description:
          'If a page is not the last, its Link header holds the address of the next: `<…>; rel="next"`',
        content: {
          [JSON_TYPE]: { schema: z.array(AccessFrame) },
          [NDJSON]: { schema: AccessFrame },
        },
      },
    },
    handle: (request, reply) => {
      const { headers, query } = request
      const format = preferred(headers.accept, [JSON_TYPE, NDJSON])
      if (format === null) return err({ code: 'not_acceptable' })
      return sendStored(request, reply, accesses(query, audit), { format, limit: query.limit })
    },
  })
  operation(app, 'GET /api/access/proof', {
    needs: 'access:read',
    id: 'proveAccesses',
    tag: 'audit',
    summary:
      'A signed statement of how many entries the access log has, and of the hash of the last',
    description: KEEP_IT.replace('a record', 'an entry'),
    answers: { 200: described('The proof', LedgerProof) },
    handle: () => audit.proveLedger('access'),
  })
}

type Accessed = Item & { readonly record: AccessEntry }

const accesses = (query: ListAccessesQuery, audit: Audit): Source<Accessed> => ({
  async *history() {
    for await (const read of audit.accesses(query)) {
      yield read.mapErr(problemOf).map((entries) =>
        entries.map(({ seq: place, record }) => {
          const memory = Buffer.from(JSON.stringify({ seq: place, ...record }))
          return { record, place, memory, at: 0, end: memory.length }
        }),
      )
    }
  },
  wants: ({ record }) => selects(query, record),
})

function selects(query: ListAccessesQuery, { kind, payload }: AccessEntry): boolean {
  const { kinds, run_id, principal, from_ts = 0, to_ts = Number.POSITIVE_INFINITY } = query
  if (kinds !== undefined && !kinds.has(kind)) return false
  if (payload.last_ts < from_ts || payload.first_ts >= to_ts) return false
  // Nobody knows which callers or runs lost entries were about.
  if (!('principal' in payload)) return true
  if (run_id !== undefined && payload.run_id !== run_id) return false
  return principal === undefined || payload.principal === principal
}

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

/** The log of all checkpoints that this server has signed, for witnesses and others that follow it (C2SP). */
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
