import type { z } from 'zod'
import type { PayloadOf } from '../../domain/records.ts'
import type { OpenCall } from '../../domain/state.ts'
import type { RunCommand } from '../../runner/command.ts'
import type { ToolSpec } from '../model/model.ts'
import type { Project } from './confine.ts'

/** What tools work on: they stay inside the project, and out of the data folder. */
export type ToolContext = Project & {
  /** Where a tool puts what it needs for a moment; made when it is needed. */
  readonly scratchDir: string
  /** Aborted with the run. */
  readonly signal: AbortSignal
  readonly runCommand: RunCommand
}

export type ToolOutput = {
  readonly output: string
  /** Of the command that ran; 0 or 1 for tools that run none. */
  readonly exitCode: number | null
  readonly outcome: 'ok' | 'error' | 'timed_out' | 'aborted'
}

/** A tool, defined once: its zod schema is what the model is told and what its arguments must be. */
export type Tool<Args extends z.ZodObject = z.ZodObject> = {
  readonly name: string
  readonly description: string
  /** Changes nothing: may be run again after a crash. */
  readonly readOnly: boolean
  readonly args: Args
  readonly run: (args: z.infer<Args>, context: ToolContext) => Promise<ToolOutput>
}

/** The tools of a run loop. */
export interface Toolbox {
  readonly specs: readonly ToolSpec[]
  readonly readOnly: ReadonlySet<string>
  /** Runs one recorded call. Never rejects: whatever goes wrong is a result for the model to read. */
  execute(
    call: OpenCall,
    context: { readonly cwd: string; readonly signal: AbortSignal },
  ): Promise<PayloadOf<'tool_result'>>
}
