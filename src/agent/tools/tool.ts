import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { Artifacts } from '../../artifacts/artifacts.ts'
import type { CallFacts } from '../../domain/approvals/rules.ts'
import type { IsolationPolicy } from '../../domain/isolation.ts'
import type { Network } from '../../domain/network.ts'
import type { ProjectFolder } from '../../domain/project-folder.ts'
import type { ImageType, PayloadOf, RequestedCall, ResultImage } from '../../domain/records.ts'
import type { OpenCall } from '../../domain/state.ts'
import type { SubagentEnd } from '../../domain/subagents.ts'
import type { Command, RunCommand } from '../../runner/command.ts'
import type { StartProcess } from '../../runner/start-process.ts'
import type { Workspace } from '../../workspace/workspace.ts'
import type { BackgroundProcesses } from '../background-processes.ts'
import type { ToolSpec } from '../model/model.ts'
import type { WantedSubagent } from './wanted-subagent.ts'

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
  /** Whether commands see only the project and the system's programs. */
  readonly isolated: boolean
  /** Whether commands of the run can make sockets. At the level `landlock` they cannot. */
  readonly hasSockets: boolean
  /** The images that the model in use is shown; empty if it is shown none. */
  readonly imageTypes: () => Promise<readonly ImageType[]>
  /** Opens a whole output that a result of this run names; null if none of them does, or it is gone. */
  readonly openOutput: Artifacts['read']
  /** The result of an earlier call whose turn is in the conversation; null if there is none. */
  readonly resultOf: (callId: string) => PayloadOf<'tool_result'> | null
  readonly callId: string
  /** Where the next shell of the run starts, as a path from the project. */
  readonly shellFolder: string
  /** What the agent has started in the background; null if it cannot start anything. */
  readonly processes: BackgroundProcesses | null
  readonly startProcess: StartProcess | null
  /** Starts the run of a sub-agent, or finds it if the call has started it before, and waits for its end. */
  readonly startSubagent: (wanted: WantedSubagent) => Promise<ToolOutput>
}

export type ToolOutput = {
  readonly output: string
  /** The exit code of the command; 0 or 1 for tools without a command. */
  readonly exitCode: number | null
  readonly outcome: Exclude<PayloadOf<'tool_result'>['outcome'], 'rejected'>
  /** Where the next shell of the run starts from now on; left out if that stays as it was. */
  readonly folder?: string
  /** How the run of a sub-agent ended that the call has waited for. */
  readonly subagent?: SubagentEnd
  /** The image that the result holds. */
  readonly image?: ResultImage & { readonly content: Buffer }
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
export type CallContext = Pick<Command, 'onNotice' | 'onOutput' | 'network'> & {
  readonly cwd: string
  readonly workspace: Workspace
  readonly signal: AbortSignal
  readonly runId?: string
  /** How the commands of the run are isolated, by its first record. */
  readonly policy?: IsolationPolicy
  /** Which folder its project is. */
  readonly folder?: ProjectFolder
  readonly processes?: BackgroundProcesses
  /** Tools that the run does without. */
  readonly excluded?: readonly string[]
  /** Left out if no results are found. */
  readonly resultOf?: ToolContext['resultOf']
  /** Left out if no model is shown images. */
  readonly imageTypes?: ToolContext['imageTypes']
  /** Where the last shell of the run ended, as a path from the project; left out: in the project's folder. */
  readonly shellFolder?: string
  /** Left out if the run cannot start sub-agents. */
  readonly startSubagent?: (
    wanted: WantedSubagent,
    place: Pick<ToolContext, 'cwd' | 'workspace' | 'signal' | 'onOutput'>,
  ) => Promise<ToolOutput>
}

/** Where the calls of a run work. */
export type Place = {
  readonly runId: string
  readonly cwd: string
  readonly workspace: Workspace
  /** The project of the run that a person started, if this is the run of a sub-agent. Null if that is not known. */
  readonly root?: string | null
  readonly shellFolder?: string
  /** What its commands reach; nothing if it is left out. */
  readonly network?: Network
}

/** `network`: what the run reaches if a person allows the call, for a call that asks for that. */
type Facts = Pick<CallFacts, 'tool' | 'touches'> & { readonly network?: Network }

/** The tools of a run loop. */
export interface Toolbox {
  readonly specs: readonly ToolSpec[]
  readonly readOnly: ReadonlySet<string>
  /** What rules are compared with; null if the call will do nothing, such as one whose arguments are not valid. */
  facts(call: RequestedCall, place: Place): Promise<Facts | null>
  /** Runs one recorded call. Never rejects: every failure is a result for the model. */
  execute(call: OpenCall, context: CallContext): Promise<PayloadOf<'tool_result'>>
}

/** A tool without its argument type, so that all tools fit in one list. */
export type DefinedTool = {
  readonly spec: ToolSpec
  readonly readOnly: boolean
  /** What a call with these arguments works with; null if they are not valid. */
  readonly touches: (args: unknown) => Declared | null
  /** Checks arguments; the error names every problem. The returned function runs the tool. */
  readonly prepare: (args: unknown) => Result<(context: ToolContext) => Promise<ToolOutput>, string>
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
    touches: (args) => {
      const parsed = tool.args.safeParse(args)
      return parsed.success ? tool.touches(parsed.data) : null
    },
    prepare: (args) => {
      const parsed = tool.args.safeParse(args)
      if (!parsed.success) return err(z.prettifyError(parsed.error))
      return ok((context) => tool.run(parsed.data, context))
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
