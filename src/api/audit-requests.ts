import * as z from 'zod'
import { ACCESS_KINDS, type AccessKind } from '../domain/access.ts'
import { After, PageLimit, Seconds } from './event-query.ts'
import { MAX_SEQ, RunId, wholeInQuery } from './fields.ts'

/** The query of GET /api/keys. */
export const ListKeysQuery = z.object({
  all: z
    .enum(['true', 'false'])
    .default('false')
    .describe('`true`: also the keys that other servers have published in the log, after its own'),
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

export const LedgerParams = z.object({
  name: z.string().meta({ description: 'Name of a ledger', examples: ['access'] }),
})

const KINDS: ReadonlyMap<string, AccessKind> = new Map(ACCESS_KINDS.map((kind) => [kind, kind]))

/** The query of GET /api/access. */
export const ListAccessesQuery = z.strictObject({
  after: After.optional().meta({
    description: 'Only entries after this seq; with direction=backward, only entries before it',
    examples: ['213'],
  }),
  limit: PageLimit,
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
  run_id: RunId.optional().meta({ description: 'Only entries about this run' }),
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
