import { join } from 'node:path'
import { errAsync } from 'neverthrow'
import type { Effects } from '../../src/agent/run/effects.ts'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { createArtifacts } from '../../src/artifacts/artifacts.ts'
import { cleanCopies } from '../../src/carry/clean-copy.ts'
import { LiveParts } from '../../src/live/live-parts.ts'
import { processMask } from '../../src/masking/process-mask.ts'
import { RunServers } from '../../src/mcp/run-servers.ts'
import { NO_SERVERS } from '../../src/mcp/servers.ts'
import { createModels } from '../../src/models/models.ts'
import { DEFAULT_LIMITS, processStarter, runCommand } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import { type OpenWorkspace, Workspace } from '../../src/workspace/workspace.ts'
import { idleGoal } from './idle-goal.ts'

const log = { info: () => {}, error: () => {} }
const startProcess = processStarter(DEFAULT_LIMITS, new Runner(log), NO_ISOLATION)

/** Opens the files of a project, without isolation. */
export const openWorkspace: OpenWorkspace = (project) => new Workspace(project, startProcess)

const common = {
  openWorkspace,
  openCleanCopy: cleanCopies({ isolation: NO_ISOLATION, openWorkspace, runCommand }),
  findGoal: () => idleGoal,
  runCommand,
  readProject: async () => ({ documents: [], files: null, git: null, programs: null }),
  dataDir: null,
  openOutput: async () => null,
  readArtifact: async () => null,
  filesOf: async () => null,
  openServers: (onNotice) => new RunServers({ configuration: NO_SERVERS, startProcess, onNotice }),
  variables: {},
  subagents: { maxDepth: 0, maxPerRun: 0, planRun: () => errAsync([]) },
  obstacle: async () => null,
  untilAvailable: async () => true,
  diskProblem: async () => null,
  forgetRun: async () => {},
  liveParts: new LiveParts(processMask),
  modelRetryMs: [1_000, 30_000] as const,
  modelAttempts: 1,
} satisfies Partial<Effects>

/** What the server works with: a model over HTTP, and its tools. */
export function realEffects(modelUrl: string, folder: string): Effects {
  const models = createModels({ RETRAI_LLM_BASE_URL: modelUrl })
  const artifacts = createArtifacts(join(folder, 'artifacts'))
  return {
    ...common,
    models,
    toolbox: createToolbox({ runCommand, artifacts }),
    keepPack: async (pack) => ({ sha256: await artifacts.put(pack), bytes: pack.length }),
    keepArtifact: (content) => artifacts.put(content),
    readArtifact: (sha256) => artifacts.read(sha256),
    log: { warn: () => {} },
  }
}
