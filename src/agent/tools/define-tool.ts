import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { ToolSpec } from '../model/model.ts'
import type { Tool, ToolContext, ToolOutput } from './tool.ts'

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
