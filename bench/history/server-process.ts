/** The server over an existing log, as a separate process. Argument: its data folder. */
import { join } from 'node:path'
import { Auth } from '../../src/auth/auth.ts'
import { buildApp } from '../../src/http/app.ts'
import { Projector } from '../../src/projections/projector.ts'
import { openReadModel } from '../../src/projections/sqlite-read-model.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { must } from '../loop/must.ts'
import { now } from '../loop/service.ts'
import { NO_AGENT, NO_SIGNING } from '../support/no-agent.ts'

const [folder = ''] = process.argv.slice(2)
const log = { info: () => {}, warn: console.warn, error: console.error }
const store = must(await openEmbeddedStore({ file: join(folder, 'log.sqlite') }))
const readModel = must(openReadModel({ file: join(folder, 'read.sqlite'), log }))
const projector = new Projector({ store, readModel, log })
await projector.caughtUpOnce()
const auth = new Auth({ store, sign: NO_SIGNING, configured: null, clock: now, log })
const app = await buildApp({
  ...NO_AGENT,
  store,
  readModel,
  checkpoint: () => readModel.checkpoint,
  clock: now,
  defaults: { cwd: folder, model_name: 'none', max_iterations: 1 },
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
