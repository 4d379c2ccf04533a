/**
 * The store, the projections and the HTTP side in a separate process, without an agent.
 * Arguments: the folder of its data, and the connection string of an EventStoreDB if it uses one.
 */

import { writeReply } from '../../src/agent/run/model-request.ts'
import { Auth } from '../../src/auth/auth.ts'
import { buildApp } from '../../src/http/app.ts'
import { LiveParts } from '../../src/live/live-parts.ts'
import { processMask } from '../../src/masking/process-mask.ts'
import { createModels } from '../../src/models/models.ts'
import { must } from '../loop/must.ts'
import { answerCalls } from '../support/calls.ts'
import { NO_AGENT, NO_SIGNING } from '../support/no-agent.ts'
import { cpu, memory, portOf } from './process.ts'
import { openProjectedStore } from './projected-store.ts'
import { now, Writer } from './writer.ts'

const [folder = '', connectionString] = process.argv.slice(2)
const { store, readModel, close } = await openProjectedStore(folder, connectionString)
const clock = () => Date.now() / 1000
const liveParts = new LiveParts(processMask)
const auth = new Auth({ store, sign: NO_SIGNING, configured: null, clock, log: console })
const app = await buildApp({
  ...NO_AGENT,
  store,
  readModel,
  checkpoint: () => readModel.checkpoint,
  clock,
  defaults: { cwd: folder, model_name: 'none', max_iterations: 1 },
  auth,
  liveParts,
  live: { sockets: 20_000, socketsPerClient: 20_000 },
})
await app.listen({ host: '127.0.0.1', port: 0 })

const writer = new Writer(store)
let isReplying = false

type Reply = { readonly runId: string; readonly seq: number; readonly url: string }

/** Asks a model as the agent of a run does. What it replies is never recorded. */
async function reply({ runId, seq, url }: Reply): Promise<void> {
  const attempt = liveParts.begin({ runId, goal: 'none', iteration: 1, seq })
  const request = { modelName: 'none', messages: [], tools: [] }
  const models = createModels({ RETRAI_LLM_BASE_URL: url })
  must(await models.complete(request, new AbortController().signal, writeReply(attempt)))
  attempt.end('withdrawn')
}

const operations = {
  port: () => portOf(app.server),
  memory,
  cpu,
  fill: (run: Parameters<Writer['fill']>[0]) => writer.fill(run),
  fillMany: (runs: Parameters<Writer['fillMany']>[0]) => writer.fillMany(runs),
  burst: (load: Parameters<Writer['burst']>[0]) => writer.burst(load),
  reply,
  replyUntilStopped: async (asked: Reply) => {
    isReplying = true
    while (isReplying) await reply(asked)
  },
  stopReplies: () => {
    isReplying = false
  },
  appendsPerSecond: async (load: Parameters<Writer['burst']>[0]) => {
    const began = await writer.burst(load)
    return (1e9 * load.appends) / (now() - began)
  },
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
