import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { Artifacts } from '../../artifacts/artifacts.ts'
import { NulFree } from '../../domain/fields.ts'
import type { IsolationPolicy } from '../../domain/isolation.ts'
import type { Network } from '../../domain/network.ts'
import type { ImageType, PayloadOf } from '../../domain/records.ts'
import type { SubagentEnd } from '../../domain/related-runs.ts'
import type { ProjectFolder } from '../../domain/run-config.ts'
import type { OpenCall } from '../../domain/state.ts'
import type { McpSession } from '../../mcp/run-servers.ts'
import type { ShownImage } from '../../models/images.ts'
import type { ToolSpec } from '../../models/model.ts'
import type { Command, RunCommand } from '../../runner/command.ts'
import type { StartProcess } from '../../runner/run-command.ts'
import type { Place } from '../../workspace/protocol.ts'
import type { Failure, Workspace } from '../../workspace/workspace.ts'
import { describeProblem } from '../../workspace/workspace-process.ts'
import type { BackgroundProcesses } from '../run/background-processes.ts'
import type { WantedSubagent } from '../subagents/request.ts'

/** The context of a call. */
export type ToolContext = {
  /** The project's folder. */
  readonly cwd: string
  /** Its files, which no tool reaches in another way. */
  readonly workspace: Workspace
  /** Aborted with the run. */
  readonly signal: AbortSignal
  readonly runCommand: RunCommand
  /** What commands of the model reach. Those of the server's own tools reach nothing. */
  readonly network: Network
  /** Variables of the server that commands of the model see. Those of the server's own tools do not see them. */
  readonly variables: Readonly<Record<string, string>>
  /** Observers see the output of commands of the model as it comes. */
  readonly onOutput: (text: string) => void
  /** The images that the model in use is shown; empty if it is shown none. */
  readonly imageTypes: () => Promise<readonly ImageType[]>
  /** Opens a whole output that a result of this run names; null if none of them does, or it is gone. */
  readonly openOutput: Artifacts['read']
  /** The result of an earlier call whose turn is in the conversation; null for any other id. */
  readonly resultOf: (callId: string) => PayloadOf<'tool_result'> | null
  readonly callId: string
  /** Where the next shell of the run starts, as a path from the project. */
  readonly shellFolder: string
  /** What the agent has started in the background; null if it cannot start anything. */
  readonly processes: BackgroundProcesses | null
  readonly startProcess: StartProcess | null
  /** Starts the run of a sub-agent, or finds it if the call has started it before, and waits for its end. Left out: it cannot. */
  readonly startSubagent?: (wanted: WantedSubagent) => Promise<ToolOutput>
}

/** What a call comes to: the output of its tool, or the reason why it was rejected. */
export type ToolOutput = {
  readonly output: string
  /** Whether its secrets were masked as it came. */
  readonly isMasked?: boolean
  /** The exit code of the command; 0 or 1 for tools without a command. */
  readonly exitCode: number | null
  readonly outcome: PayloadOf<'tool_result'>['outcome']
  /** Where the next shell of the run starts from now on; left out if that stays as it was. */
  readonly folder?: string
  /** How the run of a sub-agent ended that the call has waited for. */
  readonly subagent?: SubagentEnd
  /** The image that the result holds. */
  readonly image?: ShownImage
}

/** What a call of a tool works with, as its arguments say. Every tool declares it, so that rules can be compared. */
export type Declared = {
  /** Files that it reads or changes, as the model wrote them; both names of a move. */
  readonly paths?: readonly string[]
  /** Folders of which it may read everything. */
  readonly trees?: readonly string[]
  /** Command lines that bash runs. Null is one that only files of the project know. */
  readonly commands?: readonly (string | null)[]
  /** The folder where they start; null is where the last shell ended. Left out: the project's folder. */
  readonly startsIn?: string | null | undefined
  /** Whether a `.retrai.yml` in that folder may name other commands. */
  readonly obeysSettings?: boolean
  readonly mcpServer?: string
  /** What the run reaches if a person allows the call. Null: there is nothing to ask, because it has that, or cannot have it. */
  readonly asksFor?: (had: Network) => Network | null
}

/** A tool, defined once: its zod schema describes the arguments to the model and checks them. */
type Tool<Args extends z.ZodObject = z.ZodObject> = {
  readonly name: string
  readonly description: string
  /** It changes nothing, so it may run again after a crash. */
  readonly readOnly: boolean
  readonly args: Args
  /** What a call works with. Rules for calls are compared with it, so leave nothing out. */
  readonly touches: (args: z.infer<Args>) => Declared
  readonly run: (args: z.infer<Args>, context: ToolContext) => Promise<ToolOutput>
}

/** What a call knows of its run. */
export type CallContext = Omit<
  ToolContext,
  'runCommand' | 'startProcess' | 'variables' | 'callId'
> &
  Pick<Command, 'onNotice'> & {
    readonly runId?: string
    /** How the commands of the run are isolated, by its first record. */
    readonly policy?: IsolationPolicy
    /** Which folder its project is. */
    readonly folder?: ProjectFolder
    /** Tools that the run does without. */
    readonly excluded?: readonly string[]
    readonly findTool?: FindTool
  }

/** Finds a tool of the MCP servers of a run, by its name for models. */
type FindTool = McpSession['tool']

/** The tools of a run loop. */
export interface Toolbox {
  readonly specs: readonly ToolSpec[]
  readonly readOnly: ReadonlySet<string>
  /** A tool of every run, or one that only this run has. */
  find(name: string, ofRun?: FindTool): DefinedTool | undefined
  /** Runs one recorded call. Never rejects: every failure is a result for the model. */
  execute(call: OpenCall, context: CallContext): Promise<PayloadOf<'tool_result'>>
}

/** A tool without its argument type, so that all tools fit in one list. */
export type DefinedTool = {
  readonly spec: ToolSpec
  readonly readOnly: boolean
  /** Checks the arguments of a call; the error names every problem. */
  readonly prepare: (args: unknown) => Result<PreparedCall, string>
}

type PreparedCall = {
  readonly touches: Declared
  readonly run: (context: ToolContext) => Promise<ToolOutput>
}

/** Turns a definition into the description for the model, the check of arguments, and the run. */
export function defineTool<Args extends z.ZodObject>(tool: Tool<Args>): DefinedTool {
  const { name, description, readOnly } = tool
  let parameters: ToolSpec['parameters'] | null = null
  return {
    spec: {
      name,
      description,
      // Made when a model is asked for the first time: a start does not need it.
      get parameters() {
        parameters ??= parametersOf(tool.args)
        return parameters
      },
    },
    readOnly,
    prepare: (args) => {
      // Some models send null for an argument that they leave out.
      const given = JSON.parse(JSON.stringify(args), (_, value) => value ?? undefined)
      const { data, error } = tool.args.safeParse(given)
      if (error) return err(z.prettifyError(error))
      return ok({ touches: tool.touches(data), run: (context) => tool.run(data, context) })
    },
  }
}

function parametersOf(args: z.ZodObject): ToolSpec['parameters'] {
  const { $schema: _, ...parameters } = z.toJSONSchema(args, { io: 'input' })
  return parameters
}

/** The result of a tool that succeeded. */
export const succeeded = (output: string): ToolOutput => {
  return { output, exitCode: 0, outcome: 'ok' }
}

/** The result of a tool that failed; `output` gives the model the reason. */
export const failed = (output: string): ToolOutput => {
  return { output, exitCode: 1, outcome: 'error' }
}

/** The schema of a path argument: relative to the project, or absolute. */
export const projectPath = NulFree.min(1)

/** The result of a call that failed with this. @param path as the model wrote it */
export function failedBy(path: string, { problem, ...which }: Failure): ToolOutput {
  const output = describeProblem(which.path ?? path, problem)
  if (problem.type !== 'unanswered') return failed(output)
  switch (problem.why) {
    case 'lost':
      return { output: output + UNKNOWN, exitCode: null, outcome: 'unknown' }
    case 'not_started':
      return failed(output)
    default:
      return { output, exitCode: null, outcome: problem.why }
  }
}

const UNKNOWN = ' Whether this took effect is not known. Look before you repeat it.'

/** Where a path of the project leads. The error is the result of the call. */
export async function placeOf(
  { workspace }: Pick<ToolContext, 'workspace'>,
  path: string,
  isToWrite = false,
): Promise<Result<Place, ToolOutput>> {
  const found = await workspace.ask('resolve', { paths: [path], isToWrite })
  if (found.isErr()) return err(failedBy(path, found.error))
  const [place = { problem: { type: 'not_found' } }] = found.value.places
  return 'problem' in place ? err(failedBy(path, place)) : ok(place)
}

/** How much of a text the tools read: no larger file is changed, and no more of one is shown. */
export const MAX_TEXT_BYTES = 16 * 1024 * 1024
