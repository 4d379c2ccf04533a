import type { Artifacts } from '../artifacts/artifacts.ts'
import type { ProjectContext } from '../domain/records.ts'
import type { RunState } from '../domain/state.ts'
import type { PauseBoundsMs } from '../lib/backoff.ts'
import type { LiveParts } from '../live/live-parts.ts'
import type { RunCommand } from '../runner/command.ts'
import type { OpenWorkspace, Project, Workspace } from '../workspace/workspace.ts'
import type { Goal } from './goals/goal.ts'
import type { McpSession } from './mcp/run-servers.ts'
import type { Models } from './model/model.ts'
import type { Obstacle } from './obstacle.ts'
import type { SubagentRules } from './subagents.ts'
import type { Toolbox } from './tools/tool.ts'

/** The effects that a run loop may have on the world. */
export type Effects = {
  readonly models: Models
  readonly toolbox: Toolbox
  /** Opens an artifact that a result of the run names. Without it, no model is shown an image. */
  readonly openOutput?: (runId: string, sha256: string) => ReturnType<Artifacts['read']>
  /** Without it, runs have no MCP servers. */
  readonly mcp?: { readonly open: (runId: string) => McpSession }
  readonly findGoal: (name: string) => Goal | undefined
  readonly runCommand: RunCommand
  /** The files of a project, for the work on one run. */
  readonly openWorkspace: OpenWorkspace
  /** Reads what an agent is shown of its project. Never rejects. */
  readonly readProject: (
    project: Project,
    files: Workspace,
    signal: AbortSignal,
  ) => Promise<ProjectContext>
  /** Variables that the checks of goals see; none if it is left out. The toolbox has those for commands of the model. */
  readonly variables?: Readonly<Record<string, string>>
  /** What agents may start; they start no sub-agents if it is left out. */
  readonly subagents?: SubagentRules
  /** The server's data folder, which no project may contain; null for a server without one. */
  readonly dataDir: string | null
  /** Why this server should not claim a run; null if it can work on it. */
  readonly obstacle?: (run: RunState) => Promise<Obstacle | null>
  /** Waits before each effect while the system has a shortage; false if `signal` aborts meanwhile. */
  readonly untilAvailable?: (signal: AbortSignal) => Promise<boolean>
  /** Removes what the commands of a run have left outside of its project. Never rejects. */
  readonly forgetRun?: (runId: string) => Promise<void>
  /** Where replies and outputs are written while they come; nobody observes them if it is left out. */
  readonly liveParts?: LiveParts
  /** Where goal checks keep the reports of tools while they run. A start empties it. */
  readonly reportsDir: string
  /** Pauses between attempts to reach a model, and how many a step makes before another model is asked. */
  readonly modelRetryMs: PauseBoundsMs
  readonly modelAttempts: number
}
