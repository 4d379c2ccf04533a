import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { startServerProcess } from '../../examples/demo/server.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'

export type Start = {
  /** Milliseconds from the start of the process until it listens … */
  readonly listening: number
  /** … until it reports that it is ready … */
  readonly ready: number
  /** … and until the first run that continues asks the model. */
  readonly resumed: number
}

const POLL_MS = 2
/** A run that has not asked the model by then has ended without asking. */
const ASKED_WITHIN_MS = 60_000

/** Starts the server on a data folder, as a package starts it, waits until it works on a run, and kills it. */
export async function timeStart(program: string, dataDir: string): Promise<Start> {
  const asked = Promise.withResolvers<number>()
  const model = await startScriptedModel({
    script: () => {
      asked.resolve(performance.now())
      return { fault: 'hang' }
    },
  })
  const began = performance.now()
  const env = { PATH: process.env.PATH, RETRAI_LLM_BASE_URL: model.url }
  const args = ['--port', '0', '--data-dir', dataDir]
  const server = await startServerProcess(args, env, program)
  const listening = performance.now() - began
  try {
    while (!(await isReady(server.url))) await delay(POLL_MS)
    const ready = performance.now() - began
    const late = delay(ASKED_WITHIN_MS, null, { ref: false })
    const askedAt = await Promise.race([asked.promise, late])
    if (askedAt === null) throw new Error('no run that was continued has asked the model')
    return { listening, ready, resumed: askedAt - began }
  } finally {
    server.process.kill('SIGKILL')
    await once(server.process, 'exit')
    await model.close()
  }
}

async function isReady(url: string): Promise<boolean> {
  const response = await fetch(`${url}/health/ready`)
  await response.body?.cancel()
  return response.ok
}
