import { join } from 'node:path'
import { findGoal } from '../agent/goals/catalogue.ts'
import { createModels } from '../agent/model/models.ts'
import type { Resources } from '../agent/resources.ts'
import type { Effects } from '../agent/run-loop.ts'
import { createToolbox } from '../agent/tools/toolbox.ts'
import type { Artifacts } from '../artifacts/artifacts.ts'
import { commandRunner, DEFAULT_LIMITS } from '../runner/run-command.ts'
import type { Config } from './config.ts'
import { withCrashingEffects } from './crash-points.ts'

const MIB = 1024 * 1024

/** What goal checks leave here when a server is killed, the next one removes. */
export const REPORTS_FOLDER = 'checks'

/** All that runs do to the world. */
export function createEffects(config: Config, artifacts: Artifacts, resources: Resources): Effects {
  const memoryMib = config.RETRAI_COMMAND_MEMORY_MIB
  const runCommand = resources.patient(
    commandRunner({
      memoryBytes: memoryMib === undefined ? DEFAULT_LIMITS.memoryBytes : memoryMib * MIB,
      outputBytes: config.RETRAI_COMMAND_OUTPUT_MIB * MIB,
    }),
  )
  const reportsDir = join(config.RETRAI_DATA_DIR, REPORTS_FOLDER)
  const effects: Effects = {
    models: createModels({
      llmBaseUrl: config.RETRAI_LLM_BASE_URL,
      llmApiKey: config.RETRAI_LLM_API_KEY,
      anthropicApiKey: config.ANTHROPIC_API_KEY,
      geminiApiKey: config.GEMINI_API_KEY,
      openaiApiKey: config.OPENAI_API_KEY,
      openaiBaseUrl: config.OPENAI_BASE_URL,
      ollamaHost: config.OLLAMA_HOST,
    }),
    toolbox: createToolbox({
      runCommand,
      artifacts,
      dataDir: config.RETRAI_DATA_DIR,
      scratchDir: reportsDir,
    }),
    findGoal,
    runCommand,
    dataDir: config.RETRAI_DATA_DIR,
    reportsDir,
    untilAvailable: (signal) => resources.available(signal),
    modelRetryMs: [1_000, 30_000],
    modelAttempts: 6,
  }
  return withCrashingEffects(effects, config.RETRAI_CRASH_AT)
}
