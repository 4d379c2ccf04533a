import * as z from 'zod'
import { Timestamp } from '../domain/fields.ts'
import { LogProof, RunProof } from './audit.ts'

const count = z.int().nonnegative()

/** GET /api/runs/{run_id}/proof. */
export const ProofInLog = RunProof.extend({
  log: LogProof.nullable().describe('Not signed. Null before a checkpoint covers the run'),
}).meta({ id: 'ProofInLog' })

/** GET /api/log: the tree of all checkpoints that a server has signed, and which witnesses have seen it. */
export const LogState = z
  .object({
    origin: z.string().describe('`retrai/<log id>/<server id>`'),
    key: z.string().describe('The key of its notes, in the form of C2SP signed-note'),
    size: count.describe('How many checkpoints'),
    quorum: z.object({
      needed: count.describe('How many witnesses must see each checkpoint; 0 without witnesses'),
      seen: count.describe('How many have seen the newest one'),
      holds: z.boolean(),
    }),
    witnesses: z.array(
      z.object({
        name: z.string(),
        size: count
          .nullable()
          .describe('The newest size that it has cosigned; null if it has none'),
        at: Timestamp.nullable().describe('When it did'),
        problem: z.string().nullable(),
      }),
    ),
    stamp: z
      .object({
        name: z.string().nullable().describe('The authority that has stamped the newest one'),
        size: count
          .nullable()
          .describe('The size of the tree that was stamped; null before the first stamp'),
        at: Timestamp.nullable(),
        problem: z.string().nullable(),
      })
      .exactOptional()
      .describe('The newest time stamp (RFC 3161). Left out without RETRAI_TSA'),
    former: z
      .array(z.object({ origin: z.string(), size: count }))
      .exactOptional()
      .describe(
        'Trees of which a witness has seen more than the log has now: it was put back to an older state. This server signs nothing more for them',
      ),
  })
  .meta({ id: 'LogState' })
export type LogState = z.infer<typeof LogState>
