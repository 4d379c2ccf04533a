import * as z from 'zod'
import { ACCESS_KINDS } from '../domain/access.ts'
import { After, PageLimit, Seconds } from './event-query.ts'
import { kindsInQuery, MAX_SEQ, RunId, wholeInQuery } from './fields.ts'

/** The query of GET /api/keys. */
export const ListKeysQuery = z.object({
  all: z
    .enum(['true', 'false'])
    .default('false')
    .describe('`true`: also the keys that other servers have published in the log, after its own'),
})

/** The query of GET /api/runs/{run_id}/export. */
export const ExportQuery = z.object({
  files: z
    .enum(['true', 'false'])
    .default('false')
    .describe(
      '`true`: also all files of the first and the last snapshot, and not only those that differ',
    ),
  format: z
    .enum(['tar.gz', 'html', 'in-toto'])
    .default('tar.gz')
    .describe(
      '`html`: a page for people with the archive in it, which verifies it in a browser without a network. ' +
        '`in-toto`: only the result of the run, as a signed statement',
    ),
})

/** The query of GET /api/checkpoints. */
export const ListCheckpointsQuery = z.strictObject({
  after: wholeInQuery(-1, MAX_SEQ).default(-1).describe('Only checkpoints with a larger number'),
  limit: wholeInQuery(1, 1000).default(100),
})

/** Any text is valid, so that a wrong number is reported as an unknown checkpoint, not as an invalid request. */
export const CheckpointParams = z.object({
  number: z.string().meta({ description: 'A number, or `latest`', examples: ['latest'] }),
})

/** The query of GET /api/log/checkpoint. */
export const LogNoteQuery = z.object({
  size: wholeInQuery(0, MAX_SEQ)
    .optional()
    .describe('Of the tree that the note is about; the newest one by default'),
})

/** `*` is the path of a tile of C2SP. */
export const TileParams = z.object({
  '*': z.string().meta({
    description: '`<L>/<N>` or `entries/<N>`, with `.p/<W>` for a part of a tile',
    examples: ['0/000.p/1'],
  }),
})

export const LedgerParams = z.object({
  name: z.string().meta({ description: 'Name of a ledger', examples: ['access'] }),
})

/** The query of GET /api/access. */
export const ListAccessesQuery = z.strictObject({
  after: After.optional().describe(
    'Only entries after this seq; with direction=backward, only entries before it',
  ),
  limit: PageLimit,
  direction: z.enum(['forward', 'backward']).default('forward'),
  kinds: kindsInQuery(ACCESS_KINDS)
    .optional()
    .meta({
      description: `Only these kinds, separated by commas: ${ACCESS_KINDS.join(', ')}`,
      examples: ['run_exported,watch_ended'],
    }),
  run_id: RunId.optional().describe('Only entries about this run'),
  principal: z.string().optional().describe('Only entries of this person or program'),
  from_ts: Seconds.optional().meta({
    description: 'Only accesses that ended at or after this time, seconds since the epoch',
    examples: ['1771416000'],
  }),
  to_ts: Seconds.optional().meta({
    description: 'Only accesses that began before this time, seconds since the epoch',
    examples: ['1771419600.5'],
  }),
})
export type ListAccessesQuery = z.output<typeof ListAccessesQuery>

/** An entry of the access log: an item of GET /api/access. `AccessEntry` gives the payloads by kind. */
export const AccessFrame = z
  .object({
    seq: z.int().describe('Place in the access log: 0, 1, 2 … without gaps'),
    kind: z.enum(ACCESS_KINDS),
    ts: z.number().describe('When the server wrote the entry, seconds since the epoch'),
    payload: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AccessFrame' })
