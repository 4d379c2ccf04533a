import type { Preset } from '../../domain/network.ts'
import type { Verdict } from '../../domain/records.ts'
import type { GoalOption, RunConfig } from '../../domain/run-config.ts'
import type { RunCommand } from '../../runner/command.ts'
import type { Workspace } from '../../workspace/workspace.ts'

export type GoalVerdict = {
  /** `cannot_check`: there is nothing to check with, so no work of the agent is judged. */
  readonly verdict: Verdict
  /** One line that a person can act on: "All 42 tests passed", "3 of 42 tests failing: a, b, c". */
  readonly reason: string
  /** What the model needs to continue: messages of failures, the tail of the output. */
  readonly details: string
}

export type GoalContext = {
  readonly config: RunConfig
  readonly signal: AbortSignal
  readonly runCommand: RunCommand
  /** The files of the project. */
  readonly files: Workspace
  /** Where a tool writes its report during a check: outside of the project, for this user alone. */
  readonly reportsDir: string
  /** What the agent said in its last reply, if it has ended its work with that; null if it has not. */
  readonly lastWords?: string | null
}

/** How well a goal fits a project, and what shows it. The best fit is the highest. */
export type Fit = { readonly fit: number; readonly because: string }

export const FIT = {
  /** The project names the goal. */
  named: 5,
  /** The project names the check itself. */
  declared: 4,
  /** There are tests for it. */
  tests: 3,
  /** The project uses the language or tool. */
  language: 2,
  /** It says something about the code, not that it works. */
  quality: 1,
} as const

/** What a goal takes from a request in addition to its name. */
type Takes = {
  /** A command in place of its own; `required` if it has none. */
  readonly check?: 'optional' | 'required'
  readonly options?: Readonly<Partial<Record<GoalOption, 'optional' | 'required'>>>
}

/** One row of the table of goals. */
export type Goal = {
  readonly name: string
  readonly description: string
  /** The goal for the model, as a part of its system prompt. */
  readonly prompt: string
  /** The package registries that its tools use, which a run may allow as `preset:goal`. */
  readonly registries?: readonly Preset[]
  /** Left out: nothing but its name. */
  readonly takes?: Takes
  /** Whether this goal seems to fit a project; null if not. Left out if no project shows that. */
  readonly detect?: (files: Workspace) => Promise<Fit | null>
  /** Checks the goal. Never rejects: a missing program is the verdict `cannot_check`. */
  readonly check: (context: GoalContext) => Promise<GoalVerdict>
}
