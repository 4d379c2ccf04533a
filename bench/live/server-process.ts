/**
 * The store, the projections and the HTTP side in a separate process, without an agent.
 * Arguments: the folder of its data, and the connection string of an EventStoreDB if it uses one.
 */
import { Auth } from '../../src/auth/auth.ts'
import { buildApp } from '../../src/http/app.ts'
import { answerCalls } from '../support/calls.ts'
import { openHouse } from './house.ts'
import { cpu, memory, portOf } from './process.ts'
import { Writer } from './writer.ts'

const [folder = '', connectionString] = process.argv.slice(2)
const { store, readModel, close } = await openHouse(folder, connectionString)
const clock = () => Date.now() / 1000
const auth = await Auth.open({ store, configured: null, clock, log: console })
const app = await buildApp({
  store,
  readModel,
  checkpoint: () => readModel.checkpoint,
  artifacts: { read: async () => null },
  contextBudget: async () => 0,
  tools: [],
  goals: [],
  planRun: () => {
    throw new Error('no run is started here')
  },
  changeProblems: async () => [],
  models: async () => [],
  clock,
  defaults: { cwd: folder, model_name: 'none', max_iterations: 1 },
  ready: async () => ({ ready: true, checks: {} }),
  auth,
  live: { sockets: 20_000, socketsPerClient: 20_000 },
})
await app.listen({ host: '127.0.0.1', port: 0 })

const writer = new Writer(store)
const operations = {
  port: () => portOf(app.server),
  memory,
  cpu,
  fill: (run: Parameters<Writer['fill']>[0]) => writer.fill(run),
  fillMany: (runs: Parameters<Writer['fillMany']>[0]) => writer.fillMany(runs),
  burst: (load: Parameters<Writer['burst']>[0]) => writer.burst(load),
  trickle: (pace: Parameters<Writer['trickle']>[0]) => writer.trickle(pace),
  /** Resolves when the records of a run up to `seq` are projected. */
  projected: ({ runId, seq }: { readonly runId: string; readonly seq: number }) =>
    readModel.waitFor(runId, seq, 600_000),
}
export type ServerOperations = typeof operations

answerCalls(operations, async () => {
  await app.close()
  await auth.close()
  await close()
})
