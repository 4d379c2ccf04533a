import { goals } from '../agent/goals/catalogue.ts'
import { systemPrompt } from '../agent/goals/prompt.ts'
import { planRun } from '../agent/plan-run.ts'
import type { Resources } from '../agent/resources.ts'
import type { Effects } from '../agent/run-loop.ts'
import type { AccessRecorder } from '../audit/access-log/access-recorder.ts'
import { createAudit } from '../audit/audit.ts'
import type { Keyring } from '../audit/proofs/keyring.ts'
import type { Access } from '../auth/auth.ts'
import { buildApp } from '../http/app.ts'
import type { Redactions } from '../http/deps.ts'
import { date, now } from './clocks.ts'
import type { Integrity } from './integrity.ts'
import type { Parts } from './parts.ts'
import { readiness } from './readiness.ts'

/** The HTTP room with all that it needs from the others. */
export function createApp(
  { settings, log, store, artifacts, readModel, projector }: Parts,
  {
    keyring,
    access,
    effects: { models, toolbox },
    resources,
    redactions,
    accessLog,
    integrity,
  }: {
    readonly keyring: Keyring
    readonly access: Access
    readonly effects: Effects
    readonly resources: Resources
    readonly redactions: Redactions
    /** Null where nothing is noted. */
    readonly accessLog: AccessRecorder | null
    readonly integrity: Pick<Integrity, 'detail'>
  },
): ReturnType<typeof buildApp> {
  const ceilings = {
    max_cost_usd: settings.RETRAI_MAX_COST_USD ?? null,
    max_tokens: settings.RETRAI_MAX_TOKENS ?? null,
    max_seconds: settings.RETRAI_MAX_SECONDS ?? null,
  }
  const dataDir = settings.RETRAI_DATA_DIR
  return buildApp({
    ...(accessLog === null ? {} : { accessLog }),
    store,
    readModel,
    checkpoint: () => readModel.checkpoint,
    artifacts,
    audit: createAudit({ store, runs: readModel, keyring, artifacts, clock: date }),
    contextBudget: (modelName) => models.contextBudget(modelName),
    tools: toolbox.specs,
    goals,
    planRun: (request) => planRun(request, { goals, models, systemPrompt, ceilings, dataDir }),
    missingKey: (modelName) => models.missingKey(modelName),
    clock: now,
    defaults: { cwd: process.cwd(), model_name: 'claude-sonnet-4-6', max_iterations: 20 },
    ready: () => readiness(store, readModel, projector, { integrity, resources }),
    access,
    redactions,
    live: {
      connections: settings.RETRAI_MAX_CONNECTIONS,
      connectionsPerClient: settings.RETRAI_MAX_CONNECTIONS_PER_CLIENT,
      sockets: settings.RETRAI_MAX_SOCKETS,
      socketsPerClient: settings.RETRAI_MAX_SOCKETS_PER_CLIENT,
      stallMs: settings.RETRAI_SOCKET_STALL_SECONDS * 1000,
    },
    logger: log,
  })
}
