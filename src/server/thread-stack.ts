import { Session } from 'node:inspector'
import { z } from 'zod'

const Paused = z.object({
  method: z.literal('Debugger.paused'),
  params: z.object({
    callFrames: z.array(
      z.object({
        functionName: z.string(),
        location: z.object({
          scriptId: z.string(),
          lineNumber: z.int(),
          columnNumber: z.int().default(0),
        }),
      }),
    ),
  }),
})
const Parsed = z.object({
  method: z.literal('Debugger.scriptParsed'),
  params: z.object({ scriptId: z.string(), url: z.string() }),
})
const Message = z.union([Paused, Parsed])

type Frames = z.infer<typeof Paused>['params']['callFrames']

/**
 * What a thread of this process is doing, innermost call first, a line each. The thread is paused for a
 * moment, also in the middle of a loop. Null if it does not come to a stop in time: then it is in native
 * code, such as a read that does not return.
 * @param script URL of the main module of the thread
 */
export function stackOfThread(script: string, withinMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const session = new Session()
    const urls = new Map<string, string>()
    const settle = (stack: string | null): void => {
      clearTimeout(timer)
      // Lets the thread continue, and drops a pause that has not come yet.
      session.disconnect()
      resolve(stack)
    }
    const timer = setTimeout(settle, withinMs, null)
    session.connect()
    session.on('NodeWorker.attachedToWorker', ({ params: { sessionId, workerInfo } }) => {
      if (workerInfo.url !== script) return
      for (const [id, method] of ['Debugger.enable', 'Debugger.pause'].entries()) {
        const message = JSON.stringify({ id, method, params: {} })
        session.post('NodeWorker.sendMessageToWorker', { sessionId, message })
      }
    })
    session.on('NodeWorker.receivedMessageFromWorker', ({ params: { message } }) => {
      const told = Message.safeParse(JSON.parse(message))
      if (!told.success) return
      const { method, params } = told.data
      if (method === 'Debugger.scriptParsed') urls.set(params.scriptId, params.url)
      else settle(written(params.callFrames, urls))
    })
    session.post('NodeWorker.enable', { waitForDebuggerOnStart: false })
  })
}

function written(frames: Frames, urls: ReadonlyMap<string, string>): string {
  const lines = frames.map(({ functionName, location }) => {
    const { scriptId, lineNumber, columnNumber } = location
    const place = `${urls.get(scriptId) ?? 'unknown'}:${lineNumber + 1}:${columnNumber + 1}`
    return `    at ${functionName === '' ? '<anonymous>' : functionName} (${place})`
  })
  return lines.join('\n')
}
