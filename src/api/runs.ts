import * as z from 'zod'
import { ApprovalRule, ApprovalRules, RuleName } from '../domain/approvals/rules.ts'
import { Timestamp } from '../domain/fields.ts'
import { IsolationPolicy } from '../domain/isolation.ts'
import { OnLimit, PausedBy } from '../domain/pause.ts'
import { Plan } from '../domain/plan.ts'
import { CallDecision, Decision, RequestedCall, Stuck } from '../domain/records.ts'
import { Origin, Parent } from '../domain/related-runs.ts'
import { EFFORTS, GoalOptions, SuccessCondition } from '../domain/run-config.ts'
import { RUN_STATUSES } from '../domain/state.ts'
import { RunVerdict } from '../domain/verdict.ts'
import { RunHold } from './retention.ts'

const RunStatus = z.enum(RUN_STATUSES).meta({
  id: 'RunStatus',
  description:
    '`queued`: no server can work on the run now, or it waits for its turn; `queued_reason` says why. It ' +
    'becomes `running` as soon as a server of its pool takes it up. `paused`: a limit or a fault has stopped it until a ' +
    'person lets it continue; `paused` says which',
})

const QueuedReason = z
  .string()
  .exactOptional()
  .describe('Why no server works on the run, with advice; only if the status is `queued`')

const WaitingFor = z
  .object({
    what: z.string().describe('Why the last request to the model failed'),
    since: Timestamp.describe('When the first of these requests failed'),
    next_try: Timestamp,
  })
  .exactOptional()
  .describe('Set while the run waits for a model that is away, overloaded or over its quota')

const Paused = z
  .object({
    by: PausedBy.describe('The limit that is reached, or what is at fault'),
    reason: z.string(),
    seq: z.int().describe('Of the run_paused'),
  })
  .exactOptional()
  .describe(
    'Set if the status is `paused`. After a limit, PATCH …/config with a higher one continues the run exactly where it was; ' +
      'after a fault, POST …/resume does',
  )

const ParentRunId = z
  .uuid()
  .exactOptional()
  .describe('The run whose agent started this one; absent if a person did')

const Cost = z.number().nullable().describe('US dollars; null if a price is not known')

const Doubt = z
  .string()
  .exactOptional()
  .describe(
    'What speaks against the goal, although the run has reached it: such as tests that it changed',
  )

const OriginOfRun = Origin.unwrap()
  .exactOptional()
  .describe('The run that this one begins from, up to the record with this seq and hash')

const TagsOfRun = z
  .array(z.string())
  .readonly()
  .exactOptional()
  .describe('The tags that it has now, or had from the beginning if `at` names a record')

/** A row of GET /api/runs. */
export const RunSummary = z
  .object({
    run_id: z.uuid(),
    goal: z.string(),
    status: RunStatus,
    created_at: Timestamp,
    queued_reason: QueuedReason,
    waiting_for: WaitingFor,
    paused: Paused,
    parent_run_id: ParentRunId,
    origin: OriginOfRun,
    // Servers of earlier versions send nothing of the following.
    title: z
      .string()
      .exactOptional()
      .describe('The first line of its instructions; without any, its goal'),
    project: z.string().exactOptional().describe('The name of its folder'),
    cwd: z.string().exactOptional(),
    model_name: z.string().exactOptional(),
    principal: z.string().nullable().exactOptional().describe('Who created it'),
    queue_position: z
      .int()
      .exactOptional()
      .describe(
        'Its place among the runs that wait for their turn on this server, from 1; only of these',
      ),
    tags: TagsOfRun,
    subagents: z.int().exactOptional().describe('How many runs its agent has started'),
    updated_at: Timestamp.exactOptional().describe('When its last record was made'),
    verdict: RunVerdict.nullable().exactOptional().describe('Null until it has ended'),
    iteration: z.int().exactOptional(),
    max_iterations: z.int().exactOptional(),
    total_tokens: z.int().exactOptional(),
    estimated_cost_usd: Cost.exactOptional(),
    ended_at: Timestamp.nullable().exactOptional(),
    doubt: Doubt,
  })
  .meta({ id: 'RunSummary' })
export type RunSummary = z.infer<typeof RunSummary>

/** Which run, and its status: the answer to creating, aborting and resuming it. */
export const RunAndStatus = z.object({ run_id: z.uuid(), status: RunStatus }).meta({
  id: 'RunAndStatus',
  examples: [{ run_id: '550e8400-e29b-41d4-a716-446655440000', status: 'aborted' }],
})
export type RunAndStatus = z.infer<typeof RunAndStatus>

/** The answer to POST /api/runs if it started a run. */
export const StartedRun = RunAndStatus.extend({ status: z.literal('running') }).meta({
  id: 'StartedRun',
})

/** The answer to POST /api/runs/{run_id}/resume. */
export const ResumedRun = RunAndStatus.extend({ resumed_with: Decision }).meta({ id: 'ResumedRun' })

/** The answer to POST /api/runs/{run_id}/approvals/{seq}. */
export const AnsweredApproval = RunAndStatus.extend({ decision: CallDecision }).meta({
  id: 'AnsweredApproval',
})

/** The answer to POST /api/runs/{run_id}/messages. */
export const RecordedMessage = RunAndStatus.extend({
  seq: z.int().describe('Of the record of the message'),
}).meta({ id: 'RecordedMessage' })
export type RecordedMessage = z.infer<typeof RecordedMessage>

/** The answer to POST /api/runs/{run_id}/messages if that run had ended: the run that begins from it. */
export const Continuation = RunAndStatus.extend({
  continues: OriginOfRun.unwrap()
    .omit({ kind: true })
    .describe('The last record of the run that had ended'),
}).meta({ id: 'Continuation' })
export type Continuation = z.infer<typeof Continuation>

/** A run that the agent of another one has started. */
const Subagent = z.object({
  run_id: z.uuid(),
  call_id: z.string(),
  status: z
    .enum(['running', 'achieved', 'failed', 'aborted'])
    .describe('As its parent has recorded it; `running` until then'),
  total_tokens: z.int().nullable().describe('Null until its parent has recorded its end'),
  estimated_cost_usd: Cost,
})

/** The goals of a run as it was created, in the form of the request. */
const goalDetails = {
  check: z
    .object({ command: z.string(), conditions: SuccessCondition })
    .exactOptional()
    .describe('The command of the goal, if it is that of the run or of `.retrai.yml`'),
  goal_options: GoalOptions.exactOptional(),
} as const

/** GET /api/runs/{run_id}. */
export const RunDetails = z
  .object({
    ...goalDetails,
    all_of: z
      .array(z.object({ goal: z.string(), ...goalDetails }))
      .exactOptional()
      .describe('The goals of a run whose goal is `all-of`'),
    run_id: z.uuid(),
    goal: z.string(),
    status: RunStatus,
    model_name: z.string(),
    max_iterations: z.int(),
    max_turns_per_iteration: z
      .int()
      .describe('The most replies of the model in one iteration; 1 in runs of earlier versions'),
    hitl_enabled: z.boolean(),
    cwd: z.string(),
    workspace: z
      .object({
        mode: z.enum(['in_place', 'shared', 'copy']),
        folder: z.string().describe('Where the run works, through no link'),
        copy_of: z.string().exactOptional(),
        copy: z.enum(['due', 'made', 'discarded']).exactOptional(),
      })
      .exactOptional()
      .describe('`shared`: it does not wait for other runs in its folder'),
    error: z.string().nullable().describe('Message of the error record that ended the run'),
    final_state: z
      .object({
        iteration: z.int(),
        goal_achieved: z.boolean(),
        goal_reason: z.string(),
        total_tokens: z.int(),
        estimated_cost_usd: Cost,
      })
      .nullable()
      .describe('Null until the run has ended'),
    created_at: Timestamp,
    ended_at: Timestamp.nullable(),
    end_reason: z
      .string()
      .nullable()
      .describe('Why the run ended, such as a limit, an abort or an error; null until then'),
    verdict: RunVerdict.exactOptional().describe(
      'What the last record of the run says: whether the goal was reached as the run left its project, and with the ' +
        'protected files of its start. Absent until the run has ended, and in runs of earlier versions',
    ),
    doubt: Doubt,
    tags: TagsOfRun,
    summary: z
      .object({ text: z.string(), source: z.enum(['model', 'log']) })
      .exactOptional()
      .describe(
        'What was done, for people, if the run has ended without its goal: written by the model, or put together ' +
          'from the log. Absent for other ends, and in runs of earlier versions',
      ),
    max_cost_usd: z.number().nullable(),
    max_tokens: z.int().nullable(),
    max_seconds: z.number().nullable(),
    on_limit: OnLimit.exactOptional().describe('As it was requested; without it: `end`'),
    isolation: IsolationPolicy.optional().describe(
      'What its commands see and may do, by its first record; runs of earlier versions have none',
    ),
    approvals: z
      .object({
        run: ApprovalRules,
        server: ApprovalRules,
        lifted: z.array(RuleName).readonly(),
      })
      .exactOptional()
      .describe(
        'The rules for calls, of the run and of the server that started it, and those that ask no more because a ' +
          'person decided so. Absent if there are none',
      ),
    queued_reason: QueuedReason,
    waiting_for: WaitingFor,
    paused: Paused,
    parent_run_id: ParentRunId,
    origin: OriginOfRun,
    origin_redacted: z
      .literal(true)
      .exactOptional()
      .describe(
        'Texts of what the run begins from were redacted: the conversation is without them',
      ),
    hold: RunHold.exactOptional().describe(
      'Somebody has put the run, or the one whose agent has led to it, on hold: no rule removes it. Absent without a hold',
    ),
    parent: Parent.unwrap()
      .exactOptional()
      .describe(
        'The record of the parent that started this run, and the depth of the run below the one that a person started',
      ),
    subagents: z
      .array(Subagent)
      .readonly()
      .exactOptional()
      .describe(
        'The runs that its agent has started, oldest first. What they used is in its totals',
      ),
    pool: z
      .string()
      .exactOptional()
      .describe('The servers that may work on the run; absent if every server of the log may'),
    reasoning_effort: z.enum(EFFORTS).nullable().describe("Null: the model's own default"),
    max_output_tokens: z.int().nullable().describe('Null: the most that the model can'),
    fallback_models: z.array(z.string()).readonly(),
    tools: z
      .object({ exclude: z.array(z.string()).readonly() })
      .exactOptional()
      .describe('Tools that its model is not offered'),
    progress: z.object({
      model_name: z
        .string()
        .describe('The model that is asked now: `model_name` of the run, or one of its fallbacks'),
      iteration: z.int(),
      total_tokens: z.int(),
      estimated_cost_usd: Cost,
      seq: z.int().describe('Revision of the last record'),
      stuck: Stuck.omit({ message: true })
        .exactOptional()
        .describe(
          'How the agent made no progress in its last turns, and what was done about it: it got a hint, was asked ' +
            'for another approach, or the run ends. Absent while it makes progress',
        ),
      subagent: z
        .object({
          run_id: z.uuid(),
          status: RunStatus,
          total_tokens: z.int(),
          estimated_cost_usd: Cost,
          waiting_for: z
            .object({ run_id: z.uuid(), seq: z.int(), summary: z.string() })
            .nullable()
            .describe('The human check that is open in it, or in a sub-agent of it'),
        })
        .exactOptional()
        .describe('The sub-agent that the run waits for, as it is now; not with `at`'),
      plan: Plan.exactOptional().describe(
        'What the agent intends to do and how far it is, as it says itself',
      ),
      waiting_for: z
        .object({
          kind: z.enum(['human_check_required', 'approval_required', 'run_paused']),
          seq: z.int().describe('seq of the record that waits for a decision'),
          summary: z.string(),
          approval: z
            .object({
              call: RequestedCall,
              call_sha256: z.string(),
              rule: RuleName,
              content: ApprovalRule,
              doubt: z.string().nullable(),
            })
            .exactOptional()
            .describe('The call that waits, if the kind is `approval_required`'),
        })
        .nullable(),
    }),
  })
  .meta({ id: 'RunDetails' })
export type RunDetails = z.infer<typeof RunDetails>
