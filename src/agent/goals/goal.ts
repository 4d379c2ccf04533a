import type { ResultAsync } from 'neverthrow'
import type { RunConfig, ShellGoal } from '../../domain/run-config.ts'
import type { RunCommand } from '../../runner/command.ts'

export type GoalVerdict = {
  readonly achieved: boolean
  /** One line a person can act on: "All 42 tests passed", "3 of 42 tests failing: a, b, c". */
  readonly reason: string
  /** What the model needs to go on: messages of failures, the tail of the output. */
  readonly details: string
}

export type GoalContext = {
  readonly config: RunConfig
  readonly signal: AbortSignal
  readonly runCommand: RunCommand
  /** Where a tool may leave its report while it is checked: outside the project, for this user alone. */
  readonly reportsDir: string
}

/** One row of the table of goals. */
export type Goal = {
  readonly name: string
  readonly description: string
  /** What the model is told of this goal, as a part of its system prompt. */
  readonly prompt: string
  /** Whether the project at `cwd` looks like one that this goal fits. */
  readonly detect: (cwd: string) => Promise<boolean>
  /** Reads what the goal needs from the project when a run is created; the error is for people. */
  readonly prepare?: (cwd: string) => ResultAsync<ShellGoal, string>
  /** Checks the goal. Never rejects; a missing program is a verdict that says so. */
  readonly check: (context: GoalContext) => Promise<GoalVerdict>
}
