/** The server over an existing log, as a separate process. Argument: its data folder. */
import { join } from 'node:path'
import { okAsync } from 'neverthrow'
import { Auth } from '../../src/auth/auth.ts'
import { buildApp } from '../../src/http/app.ts'
import { startProjector } from '../../src/projections/projector.ts'
import { openReadModel } from '../../src/projections/sqlite-read-model.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { must } from '../loop/must.ts'
import { now } from '../loop/service.ts'

const [folder = ''] = process.argv.slice(2)
const log = { info: () => {}, warn: console.warn, error: console.error }
const store = must(await openEmbeddedStore({ file: join(folder, 'log.sqlite') }))
const readModel = must(openReadModel({ file: join(folder, 'read.sqlite'), log }))
const projector = startProjector({ store, readModel, log })
await projector.caughtUpOnce()
const auth = await Auth.open({ store, configured: null, clock: now, log })
const app = await buildApp({
  store,
  readModel,
  checkpoint: () => readModel.checkpoint,
  artifacts: { read: async () => null },
  contextBudget: async () => 0,
  tools: [],
  goals: [],
  fittingGoals: () => okAsync([]),
  planRun: () => {
    throw new Error('no run is started here')
  },
  changeProblems: async () => [],
  models: async () => [],
  clock: now,
  defaults: { cwd: folder, model_name: 'none', max_iterations: 1 },
  ready: async () => ({ ready: true, checks: {} }),
  auth,
})
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.once('disconnect', async () => {
  await app.close()
  await auth.close()
  await projector.stop()
  readModel.close()
  await store.close()
})
process.send?.({ url })
