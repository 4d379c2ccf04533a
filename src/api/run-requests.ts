import * as z from 'zod'
import { CallDecision, Decision, Seen as KnownRecord } from '../domain/records.ts'
import { ConfigChanges } from '../domain/run-config.ts'
import { RUN_SORTS, RUN_STATUSES } from '../domain/state.ts'
import { limits, MAX_ITERATIONS, MAX_WORDS, reason, tags } from './create-run.ts'
import { Seq } from './event-query.ts'
import { Decimal, flagInQuery, SeqInBody, wholeInQuery } from './fields.ts'

/** Any text in the path is valid, so that a wrong id is reported as an unknown run, not as an invalid request. */
export const RunParams = z.object({
  run_id: z.string().meta({ format: 'uuid', examples: ['550e8400-e29b-41d4-a716-446655440000'] }),
})

/** `seq` is that of the `approval_required`. */
export const ApprovalParams = RunParams.extend({ seq: Seq })

export const ArtifactParams = RunParams.extend({
  sha256: z.string().meta({
    description: '`sha256` of a tool_result',
    examples: ['9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'],
  }),
})

/** A part of a query that may be repeated. */
const several = <T extends z.ZodType>(each: T) =>
  z
    .preprocess((found) => (Array.isArray(found) ? found : [found]), z.array(each).readonly())
    .optional()

/** A time in a query, as the list shows times. */
const Moment = z.iso
  .datetime({ offset: true, error: 'must be a time such as 2026-02-18T12:00:00Z' })
  .transform((text) => new Date(text).toISOString())

/** The query of GET /api/runs. */
export const ListRunsQuery = z.strictObject({
  limit: wholeInQuery(1, 1000).default(100),
  cursor: z.string().optional().describe('From the Link header of the previous page'),
  status: several(z.enum(RUN_STATUSES)).describe('Repeat it for any of several'),
  goal: z.string().optional(),
  parent: z.string().optional().describe('Only runs that the agent of this run has started'),
  origin: z.string().optional().describe('Only runs that begin from this run'),
  q: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe('A part of title, goal, folder or a tag, or the beginning of the id, in any case'),
  project: z.string().optional().describe('The name of the folder'),
  model: z.string().optional(),
  principal: z.string().optional().describe('Who created the run'),
  tag: several(z.string()).describe('Repeat it for runs that have all of several'),
  min_cost_usd: Decimal.optional(),
  max_cost_usd: Decimal.optional(),
  from: Moment.optional().describe('Only runs created then or later'),
  to: Moment.optional().describe('Only runs created before'),
  top: flagInQuery().optional().describe('"true": no runs that an agent has started'),
  sort: z.enum(RUN_SORTS).optional().describe('Without it: `created`'),
  order: z.enum(['asc', 'desc']).optional().describe('Without it: `desc`'),
})

/** The query of GET /api/runs/{run_id}. */
export const GetRunQuery = z.strictObject({
  at: Seq.optional().describe(
    'seq of a record: the run after that record. Without it: the run now',
  ),
})

/** The query of GET /api/runs/{run_id}/conversation. */
export const ConversationQuery = z.strictObject({
  at: Seq.optional().describe('seq of a record'),
})

/** The query of GET /api/runs/{run_id}/diff. */
export const DiffQuery = z.strictObject({ from: Seq, to: Seq })

/** The query of GET /api/goals. */
export const GoalsQuery = z.strictObject({
  cwd: z
    .string()
    .min(1)
    .optional()
    .describe('The folder of a project: only the goals that fit it, best first'),
})

const SEEN_EXAMPLE = {
  seq: 14,
  hash: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
} as const

const Seen = z
  .strictObject({ ...KnownRecord.unwrap().shape, seq: SeqInBody })
  .meta({ id: 'Seen', description: 'A record of a run', examples: [SEEN_EXAMPLE] })

const seen = Seen.nullable()
  .default(null)
  .describe(
    'The last record of the run that the person was shown: its seq and hash. The hash commits to all ' +
      'records before it. If the log has another record there, the request is refused. Kept in the log',
  )

/** The body of POST /api/runs/{run_id}/abort. */
export const AbortRun = z
  .strictObject({ reason, seen })
  .prefault({})
  .meta({
    id: 'AbortRun',
    description: 'Optional',
    examples: [{ reason: 'No longer needed' }, { reason: 'Too expensive', seen: SEEN_EXAMPLE }],
  })
export type AbortRun = z.input<typeof AbortRun>

/** The body of POST /api/runs/{run_id}/messages. */
export const SendMessage = z
  .strictObject({
    text: z
      .string()
      .trim()
      .min(1)
      .max(MAX_WORDS)
      .describe('Kept in the log, and sent to the model'),
    seen,
  })
  .meta({ id: 'SendMessage', examples: [{ text: 'Leave the public API as it is.' }] })
export type SendMessage = z.input<typeof SendMessage>

/** The body of POST /api/runs/{run_id}/resume. */
export const ResumeRun = z
  .strictObject({
    decision: Decision,
    reason: reason.describe('Kept in the log beside the decision'),
    seq: SeqInBody.nullable()
      .default(null)
      .describe(
        'seq of the human_check_required or run_paused that this answers: if another is open by then, the ' +
          'decision is refused. Without it, the decision answers the one that is open',
      ),
    seen,
  })
  .meta({
    id: 'ResumeRun',
    examples: [
      { decision: 'approve' },
      { decision: 'abort', reason: 'Too expensive', seq: 14 },
      { decision: 'approve', seq: 14, seen: SEEN_EXAMPLE },
    ],
  })
export type ResumeRun = z.input<typeof ResumeRun>

/** The body of POST /api/runs/{run_id}/approvals/{seq}. */
export const AnswerApproval = z
  .strictObject({
    decision: CallDecision,
    call_sha256: KnownRecord.unwrap().shape.hash.describe(
      'Of the call that the person was shown: if another one waits, the answer is refused',
    ),
    reason: reason.describe('Kept in the log. If the call is denied, the model reads it'),
    lifts_rule: z
      .boolean()
      .default(false)
      .describe('With `allow`: the rule no longer asks in this run. Only for rules of the run'),
    seen,
  })
  .meta({
    id: 'AnswerApproval',
    examples: [
      { decision: 'allow', call_sha256: SEEN_EXAMPLE.hash },
      { decision: 'deny', call_sha256: SEEN_EXAMPLE.hash, reason: 'Not on this branch' },
    ],
  })
export type AnswerApproval = z.input<typeof AnswerApproval>

const changes = ConfigChanges.unwrap().shape

/** The body of PATCH /api/runs/{run_id}/config. */
export const ConfigureRun = z
  .strictObject({
    ...changes,
    max_iterations: changes.max_iterations.unwrap().max(MAX_ITERATIONS).exactOptional(),
    max_cost_usd: limits.max_cost_usd.exactOptional(),
    max_tokens: limits.max_tokens.exactOptional(),
    max_seconds: limits.max_seconds.exactOptional(),
    tags: tags.describe(
      'Instead of the tags that the run has; also after its end, if it is the only change',
    ),
    reason,
    seen,
  })
  .refine(
    ({ reason: _, seen: __, ...changes }) => Object.keys(changes).length > 0,
    `must name at least one of ${[...Object.keys(changes), 'tags'].join(', ')}`,
  )
  .meta({
    id: 'ConfigureRun',
    minProperties: 1,
    examples: [
      { max_iterations: 30 },
      { max_cost_usd: 5, max_tokens: null },
      { reasoning_effort: 'high', fallback_models: ['openai/gpt-5.2'] },
      { model_name: 'gpt-5-mini', hitl_enabled: true, reason: 'The first one is too slow' },
    ],
  })
export type ConfigureRun = z.input<typeof ConfigureRun>

const ofSeq = (what: string) =>
  Seq.optional().describe(
    `seq of a record: ${what} as of that record, by the last snapshot before it`,
  )

/** The query of GET /api/runs/{run_id}/changes. */
export const ChangesQuery = z.strictObject({
  from: ofSeq('the files before. Without it: those of the first snapshot'),
  to: ofSeq('the files after. Without it: those of the last snapshot'),
  format: z
    .enum(['json', 'patch'])
    .default('json')
    .describe('`patch`: what `git apply --binary` takes'),
  path: z
    .string()
    .min(1)
    .optional()
    .describe('Only what happened to this file: its path in `files`'),
})

/** `*` is the path of a file, from the project. */
export const FileParams = RunParams.extend({ '*': z.string() })

/** The query of GET /api/runs/{run_id}/files/{path}. */
export const FileQuery = z.strictObject({
  at: ofSeq('the file. Without it: that of the last snapshot'),
})

const dry_run = z
  .boolean()
  .default(false)
  .describe('Nothing is written: the answer says what would be, and what is in conflict')

/** The body of POST /api/runs/{run_id}/rollback. */
export const RollbackRun = z
  .strictObject({
    to: SeqInBody.describe(
      'seq of a record: the files as of that record, by the last snapshot before it',
    ),
    dry_run,
    reason,
    seen,
  })
  .meta({
    id: 'RollbackRun',
    examples: [
      { to: 0, dry_run: true },
      { to: 12, reason: 'Wrong way' },
    ],
  })
export type RollbackRun = z.input<typeof RollbackRun>

/** The body of POST /api/runs/{run_id}/apply. */
export const ApplyRun = z
  .strictObject({
    as: z
      .enum(['files', 'patch', 'branch'])
      .describe(
        '`files`: onto the folder that was copied. `patch`: only as a text, with secrets masked. `branch`: as a commit on top of ' +
          'HEAD that a new branch names, without a change to files, index or HEAD',
      ),
    branch: z.string().min(1).max(200).exactOptional().describe('Without it: `retrai/<run_id>`'),
    dry_run,
    reason,
    seen,
  })
  .meta({
    id: 'ApplyRun',
    examples: [
      { as: 'files', dry_run: true },
      { as: 'branch', branch: 'fix' },
    ],
  })
export type ApplyRun = z.input<typeof ApplyRun>
