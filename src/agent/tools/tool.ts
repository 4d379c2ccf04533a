import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { PayloadOf } from '../../domain/records.ts'
import type { OpenCall } from '../../domain/state.ts'
import { characterStart, nextCharacterStart } from '../../runner/bounded-text.ts'
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
  readonly outcome: 'ok' | 'error' | 'timed_out' | 'aborted' | 'unknown'
}

/** A tool, defined once: its zod schema is what the model is told and what its arguments must be. */
type Tool<Args extends z.ZodObject = z.ZodObject> = {
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

/** A tool whose argument type is known to itself only, so that tools of all kinds fit in one list. */
export type DefinedTool = {
  readonly spec: ToolSpec
  readonly readOnly: boolean
  /** Checks arguments; the error names every problem. What it answers runs the tool on them. */
  readonly prepare: (args: unknown) => Result<(context: ToolContext) => Promise<ToolOutput>, string>
}

/** Makes of one definition what the model is told, the check of arguments, and the run. */
export function defineTool<Args extends z.ZodObject>(tool: Tool<Args>): DefinedTool {
  const { name, description, readOnly } = tool
  const { $schema: _, ...parameters } = z.toJSONSchema(tool.args, { io: 'input' })
  return {
    spec: { name, description, parameters },
    readOnly,
    prepare: (args) => {
      const parsed = tool.args.safeParse(args)
      if (!parsed.success) return err(z.prettifyError(parsed.error))
      return ok((context) => tool.run(parsed.data, context))
    },
  }
}

/** The result of a tool that did what it was asked. */
export const succeeded = (output: string): ToolOutput => {
  return { output, exitCode: 0, outcome: 'ok' }
}

/** The result of a tool that could not; `output` tells the model why. */
export const failed = (output: string): ToolOutput => {
  return { output, exitCode: 1, outcome: 'error' }
}

/** Bytes of output that stand in the log; the whole of what is longer becomes an artifact. */
export const INLINE_BYTES = 16_384

/** Room for the line between head and tail. */
const MARKER_BYTES = 256

/**
 * The head and the tail of a text, with a line between them that says how many bytes are left out and
 * where the whole is. Never more than INLINE_BYTES, never a part of a character.
 * @param whole the whole text as UTF-8, longer than INLINE_BYTES
 * @param kept where the whole is, as a part of a sentence
 */
export function headAndTail(whole: Buffer, kept: string): string {
  const half = (INLINE_BYTES - MARKER_BYTES) / 2
  const headEnd = characterStart(whole, half)
  const tailStart = nextCharacterStart(whole, whole.length - half)
  const marker = `[… ${tailStart - headEnd} of ${whole.length} bytes are left out here; ${kept} …]`
  return `${whole.subarray(0, headEnd)}\n${marker}\n${whole.subarray(tailStart)}`
}
