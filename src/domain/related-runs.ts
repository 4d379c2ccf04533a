import * as z from 'zod'
import { Sha256 } from './fields.ts'

/** The tool with which an agent starts another run, and waits for its end. */
export const SUBAGENT_TOOL = 'run_subagent'
/** The goal of a run that ends when its agent says that it is done. */
export const INSTRUCTIONS_GOAL = 'instructions'

const count = z.int().nonnegative()

/** The run whose agent started this one, by the record `subagent_started` of that run. */
export const Parent = z
  .strictObject({
    run_id: z.string(),
    call_id: z.string(),
    /** The record's seq and hash. The hash commits to all records of the parent up to it. */
    seq: count,
    hash: Sha256,
    /** 1 if the parent has no parent itself. */
    depth: z.int().positive(),
  })
  .readonly()
export type Parent = z.infer<typeof Parent>

/** How the run of a sub-agent ended, and what it and its own sub-agents used. */
export const SubagentEnd = z
  .strictObject({
    run_id: z.string(),
    /** `running`: its parent was aborted first, so the rest is as of then. It is aborted after its parent. */
    status: z.enum(['achieved', 'failed', 'aborted', 'running']),
    tokens: count,
    /** US dollars; null if a price is not known. */
    cost_usd: z.number().nonnegative().nullable(),
    /** How long it waited for people. */
    waited_seconds: z.number().nonnegative(),
    /** The seq and hash of its last record. The hash commits to its whole log. */
    seq: count,
    hash: Sha256,
  })
  .readonly()
export type SubagentEnd = z.infer<typeof SubagentEnd>

/** How many sub-agents of one reply work side by side. */
export const SUBAGENTS_AT_ONCE = 4

/** How many sub-agents one run may start. */
export const SUBAGENTS_OF_RUN = 20

/** A run that an agent has started. */
export type Subagent = {
  readonly run_id: string
  readonly call_id: string
  /** The seq of the record `subagent_started`. */
  readonly seq: number
  /** Null until its parent has recorded it. */
  readonly end: SubagentEnd | null
  /** The most that it may use of the budget of its parent. No other sub-agent gets that. Null: there is no limit. */
  readonly limits?: { readonly max_tokens: number | null; readonly max_cost_usd: number | null }
  /** When it was started, and the seconds that its parent had waited for people by then. */
  readonly began?: { readonly ts: number; readonly waitedBefore: number }
}

/** The run that another one begins from, up to one of its records. */
export const Origin = z
  .strictObject({
    /** `fork`: from any record, in a folder of its own. `continue`: from the last record of a run that has ended. */
    kind: z.enum(['fork', 'continue']),
    run_id: z.string(),
    /** The last record that it takes over. Its hash commits to all records up to it. */
    seq: z.int().nonnegative(),
    hash: Sha256,
  })
  .readonly()
export type Origin = z.infer<typeof Origin>

/** What the protected files were before any agent worked, in the first of runs that begin from each other. */
export const ProtectedStart = z
  .strictObject({
    run_id: z.string(),
    /** The tree of its first snapshot, and the artifact with its list of protected files. */
    tree: Sha256,
    protected: Sha256,
  })
  .readonly()
export type ProtectedStart = z.infer<typeof ProtectedStart>

/** What is known of the origin there that its conversation does not say. */
export const TakenOver = z
  .strictObject({
    /** Whether its agent was shown its project. */
    introduced: z.boolean(),
    /** Where its next `bash_exec` would have started, as a path from the project; left out: in its folder. */
    shell_folder: z.string().exactOptional(),
    /** With what protected files are compared, if the new run has the same goal. */
    start: ProtectedStart.exactOptional(),
  })
  .readonly()
export type TakenOver = z.infer<typeof TakenOver>
