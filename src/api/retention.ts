import * as z from 'zod'
import { Sha256, Timestamp } from '../domain/fields.ts'
import { EndStatus } from '../domain/records.ts'

/** Where the export of a removed run is: its file, and the SHA-256 of that. */
export const Archived = z.strictObject({ file: z.string().min(1).max(1000), sha256: Sha256 })
export type Archived = z.infer<typeof Archived>

export const REMOVING = ['archive', 'remove'] as const

const RuleMatch = z.strictObject({
  status: EndStatus.exactOptional().describe('How the run has ended'),
  older_than_days: z.number().nonnegative().exactOptional().describe('Since its end'),
  project: z
    .string()
    .min(1)
    .exactOptional()
    .describe('The folder of its project, or the name of that folder'),
  tag: z.string().min(1).exactOptional().describe('One of the tags that it has now'),
})

export const RetentionRule = z.strictObject({
  name: z.string().trim().min(1).max(200),
  match: RuleMatch.describe('All of it must hold. Empty: every run that has ended'),
  action: z.enum(['keep', ...REMOVING], 'must be keep, archive or remove'),
})
export type RetentionRule = z.infer<typeof RetentionRule>

/** What is kept, archived or removed: a settings file, and the beginning of the body of POST /api/retention. */
export const RetentionPolicy = z.strictObject({
  rules: z
    .array(RetentionRule)
    .min(1, 'must have at least one rule')
    .max(100)
    .readonly()
    .describe('The first one that matches a run decides. If none does, the run is kept'),
})
export type RetentionPolicy = z.infer<typeof RetentionPolicy>

/** The body of POST /api/retention. */
export const RetainRuns = RetentionPolicy.extend({
  dry_run: z.boolean().default(false).describe('Only answers what would be removed'),
  archived: z
    .record(z.uuid(), Archived.extend({ head: Sha256 }))
    .default({})
    .describe(
      'By run: the export that was verified, and the hash of its last record. A rule with the action ' +
        '`archive` removes only these runs',
    ),
}).meta({
  id: 'RetainRuns',
  examples: [
    { rules: [{ name: 'old', match: { older_than_days: 90 }, action: 'remove' }], dry_run: true },
  ],
})
export type RetainRuns = z.input<typeof RetainRuns>

/** A run that a rule does not keep, as an item of the answer to POST /api/retention. */
export const RetainedRun = z
  .object({
    run_id: z.uuid(),
    parent_run_id: z.uuid().exactOptional().describe('It goes or stays with this one'),
    rule: z.string(),
    action: z.enum(REMOVING),
    status: EndStatus.nullable().describe('Null for a sub-agent that has not ended'),
    ended_at: Timestamp.nullable(),
    project: z.string(),
    length: z.int().describe('How many records it has'),
    head: Sha256.describe('The hash of the last one'),
    kept: z.string().nullable().describe('Why it stays, as a part of a sentence; else null'),
    removed: z.boolean(),
  })
  .meta({ id: 'RetainedRun' })
export type RetainedRun = z.infer<typeof RetainedRun>

/** The entry of the ledger about a run that was removed. */
export const RunRemoval = z
  .object({
    run_id: z.uuid(),
    length: z.int().describe('How many records it had'),
    head: Sha256.describe('The hash of the last one'),
    rule: z.string(),
    action: z.enum(REMOVING),
    archive: Archived.exactOptional(),
    entry: z.int().describe('Number of the entry in the ledger `retention`'),
    removed_at: Timestamp,
    principal: z.string().nullable(),
  })
  .meta({ id: 'RunRemoval' })
export type RunRemoval = z.infer<typeof RunRemoval>

/** The body of PUT /api/runs/{run_id}/hold. */
export const HoldRun = z
  .strictObject({ reason: z.string().trim().min(1).max(2000).describe('Kept in the log for ever') })
  .meta({ id: 'HoldRun', examples: [{ reason: 'Evidence of an audit' }] })

/** The body of DELETE /api/runs/{run_id}/hold. */
export const ReleaseRun = HoldRun.partial()
  .prefault({})
  .meta({ id: 'ReleaseRun', description: 'Optional', examples: [{ reason: 'The audit is over' }] })

/** A hold on a run: no rule removes it, nor its sub-agents. */
export const RunHold = z
  .object({ reason: z.string(), since: Timestamp, principal: z.string().nullable() })
  .meta({ id: 'RunHold' })
export type RunHold = z.infer<typeof RunHold>

/** The answer to PUT and DELETE /api/runs/{run_id}/hold. */
export const HeldRun = z
  .object({ run_id: z.uuid(), hold: RunHold.nullable() })
  .meta({ id: 'HeldRun' })
export type HeldRun = z.infer<typeof HeldRun>
