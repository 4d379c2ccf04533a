import { join } from 'node:path'
import { okAsync } from 'neverthrow'
import type { Effects } from '../../src/agent/effects.ts'
import type { Models } from '../../src/agent/model/model.ts'
import { createModels } from '../../src/agent/model/models.ts'
import type { Toolbox } from '../../src/agent/tools/tool.ts'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { createArtifacts } from '../../src/artifacts/artifacts.ts'
import { NO_ISOLATION } from '../../src/runner/isolation/isolation.ts'
import { DEFAULT_LIMITS, runCommand } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { processStarter } from '../../src/runner/start-process.ts'
import { type OpenWorkspace, Workspace } from '../../src/workspace/workspace.ts'
import { idleGoal } from './idle-goal.ts'
import { CONTENT, FILES } from './script.ts'

const log = { info: () => {}, error: () => {} }
const startProcess = processStarter(DEFAULT_LIMITS, new Runner(log), NO_ISOLATION)

/** Opens the files of a project, without isolation. */
export const openWorkspace: OpenWorkspace = (project) => new Workspace(project, startProcess)

const common = {
  openWorkspace,
  findGoal: () => idleGoal,
  runCommand,
  readProject: async () => ({ documents: [], files: null, git: null, programs: null }),
  dataDir: null,
  reportsDir: '/nowhere',
  modelRetryMs: [1_000, 30_000],
  modelAttempts: 1,
} as const

/** What the server works with: a model over HTTP, and its tools. */
export function realEffects(modelUrl: string, folder: string): Effects {
  const models = createModels({ llmBaseUrl: modelUrl })
  const artifacts = createArtifacts(join(folder, 'artifacts'))
  return {
    ...common,
    models,
    toolbox: createToolbox({ runCommand, artifacts, dataDir: null }),
  }
}

/** The same replies and results, at once and without leaving the process. */
export const instantEffects: Effects = {
  ...common,
  models: instantModels(),
  toolbox: instantTool(),
}

const UNPRICED = {
  providerItems: null,
  usage: {
    inputTokens: 1000,
    outputTokens: 20,
    cachedTokens: null,
    cacheWriteTokens: null,
    longCacheWriteTokens: null,
    reasoningTokens: null,
  },
  provider: 'instant',
  costUsd: null,
  priceSource: null,
  firstTokenMs: null,
} as const

function instantModels(): Models {
  return {
    complete: ({ messages }) => {
      const turn = messages.filter(({ role }) => role === 'assistant').length
      const path = FILES[turn % FILES.length] ?? ''
      return okAsync({
        text: null,
        toolCalls: [{ call_id: `call_${turn}`, tool: 'file_read', args: { path } }],
        finishReason: 'tool_calls',
        ...UNPRICED,
      })
    },
    contextBudget: async () => 100_000,
  }
}

function instantTool(): Toolbox {
  return {
    specs: [],
    readOnly: new Set(['file_read']),
    facts: async () => null,
    execute: async ({ call_id, tool }) => ({
      call_id,
      tool,
      output: CONTENT,
      exit_code: 0,
      outcome: 'ok',
      duration_ms: 0,
      bytes: CONTENT.length,
      truncated: false,
      sha256: null,
    }),
  }
}
