/**
 * The server with a goal that costs nothing, as a process of its own.
 * Arguments: the folder of its data, the URL of the model, perhaps that of a collector of traces. It ends with the process that started it.
 */

import { join } from 'node:path'
import { planRun } from '../../src/agent/planning/plan-run.ts'
import { Auth } from '../../src/auth/auth.ts'
import { buildApp } from '../../src/http/app.ts'
import { NO_SERVERS } from '../../src/mcp/servers.ts'
import { createCatalogue } from '../../src/models/catalogue.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import { policyOfRun } from '../../src/server/commands.ts'
import { startTraces } from '../../src/traces/exporter.ts'
import { NO_AGENT, NO_SIGNING } from '../support/no-agent.ts'
import { openWorkspace, realEffects } from './effects.ts'
import { idleGoal } from './idle-goal.ts'
import { now, Service } from './service.ts'

const [folder = '', modelUrl = '', collector] = process.argv.slice(2)
const effects = realEffects(modelUrl, folder)
const { models } = effects
const catalogue = createCatalogue({ RETRAI_LLM_BASE_URL: modelUrl })
const goals = [idleGoal]
const ceilings = { max_cost_usd: null, max_tokens: null, max_seconds: null }
const isolate = (project: string) =>
  policyOfRun(NO_ISOLATION, DEFAULT_LIMITS, project, {
    atLeast: null,
    network: 'none',
  })
const service = await Service.open(folder, effects)
const { store } = service
const traces =
  collector === undefined
    ? null
    : startTraces({ store, log: console, endpoint: collector, file: join(folder, 'traces.json') })
const auth = new Auth({
  store,
  sign: NO_SIGNING,
  configured: null,
  clock: now,
  log: console,
})
const network = { most: 'none', level: 'none', fullProblem: null } as const
const app = await buildApp({
  ...NO_AGENT,
  store,
  readModel: service.readModel,
  checkpoint: () => service.readModel.checkpoint,
  contextBudget: models.contextBudget,
  tools: effects.toolbox.specs,
  planRun: (request) =>
    planRun(request, {
      goals,
      models: catalogue,
      ceilings,
      dataDir: null,
      isolate,
      network,
      tools: [],
      mcp: { configuration: NO_SERVERS, own: 'none' },
      openWorkspace,
    }),
  clock: now,
  defaults: { cwd: folder, model_name: 'scripted-model', max_iterations: 20 },
  auth,
})
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.once('disconnect', async () => {
  await traces?.stop()
  await app.close()
  await auth.close()
  await service.close()
})
process.send?.({ url })
