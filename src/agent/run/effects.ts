import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Artifacts } from '../../artifacts/artifacts.ts'
import type { OpenCleanCopy } from '../../carry/clean-copy.ts'
import type { Goal } from '../../checks/goal.ts'
import type { Notice, ProjectContext } from '../../domain/records.ts'
import type { RunState } from '../../domain/state.ts'
import { Backoff, type PauseBoundsMs } from '../../lib/backoff.ts'
import type { Logger } from '../../lib/logger.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { LiveParts } from '../../live/live-parts.ts'
import type { McpSession } from '../../mcp/run-servers.ts'
import type { Models } from '../../models/model.ts'
import type { RunCommand } from '../../runner/command.ts'
import type { FilesOf } from '../../snapshots/run-files.ts'
import type { OpenWorkspace, Workspace } from '../../workspace/workspace.ts'
import type { SubagentRules } from '../subagents/subagents.ts'
import type { Toolbox } from '../tools/tool.ts'
import type { BackgroundProcesses } from './background-processes.ts'
import type { LeftOutHashes } from './left-out.ts'
import type { RunSession } from './session.ts'
import type { KeepObjects, Snapshots } from './snapshots.ts'

/** The effects that the work on runs may have on the world. */
export type Effects = KeepObjects & {
  readonly models: Models
  readonly toolbox: Toolbox
  /** Opens an artifact that a result of the run names; null if none does. */
  readonly openOutput: (runId: string, sha256: string) => ReturnType<Artifacts['read']>
  readonly filesOf: FilesOf
  readonly openServers: (onNotice: (notice: Notice) => void) => McpSession
  readonly findGoal: (name: string) => Goal
  readonly runCommand: RunCommand
  /** The files of a project, for the work on one run. */
  readonly openWorkspace: OpenWorkspace
  /** Copies the project of a run, for a check that nothing else sees. Never rejects. */
  readonly openCleanCopy: OpenCleanCopy
  /** Reads what an agent is shown of its project. Never rejects. */
  readonly readProject: (files: Workspace, signal: AbortSignal) => Promise<ProjectContext>
  /** Variables that the checks of goals see. The toolbox has those for commands of the model. */
  readonly variables: Readonly<Record<string, string>>
  /** What agents may start. */
  readonly subagents: SubagentRules
  /** The server's data folder, which no project may contain; null for a server without one. */
  readonly dataDir: string | null
  /** Why this server should not claim a run; null if it can work on it. */
  readonly obstacle: (run: RunState) => Promise<string | null>
  /** Waits before each effect while the system has a shortage; false if `signal` aborts meanwhile. */
  readonly untilAvailable: (signal: AbortSignal) => Promise<boolean>
  /** Why no command starts in a folder for lack of space, for people; null if there is enough. */
  readonly diskProblem: (folder: string) => Promise<string | null>
  /** Removes what the commands of a run have left outside of its project. Never rejects. */
  readonly forgetRun: (runId: string) => Promise<void>
  /** Where replies and outputs are written while they come. */
  readonly liveParts: LiveParts
  /** Pauses between attempts to reach a model, and how many a step makes before another model is asked. */
  readonly modelRetryMs: PauseBoundsMs
  readonly modelAttempts: number
  readonly log: Pick<Logger, 'warn'>
}

/** What the steps of one run work with, while this process works on the run. */
export type Work = {
  readonly session: RunSession
  readonly effects: Effects
  readonly files: Workspace
  readonly snapshots: Snapshots
  readonly leftOut: LeftOutHashes
  readonly processes: BackgroundProcesses
  readonly servers: McpSession
  readonly signal: AbortSignal
}

type Reads = Pick<Effects, 'readArtifact' | 'filesOf'>

/** The same reads, which wait while the place of the artifacts is away, until the work on the run stops. */
export function patientReads(
  { readArtifact, filesOf, modelRetryMs, log }: Reads & Pick<Effects, 'modelRetryMs' | 'log'>,
  signal: AbortSignal,
): Reads {
  const outlast = async <T>(read: () => Promise<T>): Promise<T> => {
    const pauses = new Backoff(modelRetryMs)
    for (;;) {
      try {
        return await read()
      } catch (cause) {
        if (pauses.failures === 0) log.warn({ why: messageOf(cause) }, 'waiting for artifacts')
        if (!(await pauses.wait(signal))) throw cause
      }
    }
  }
  return {
    readArtifact: (sha256) =>
      outlast(async () => {
        const found = await readArtifact(sha256)
        // It may go away in the middle, too.
        return found && { bytes: found.bytes, stream: Readable.from([await buffer(found.stream)]) }
      }),
    filesOf: (...asked) => outlast(() => filesOf(...asked)),
  }
}
