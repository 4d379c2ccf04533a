import { Session } from 'node:inspector'
import * as z from 'zod'

const REQUESTS = [
  'Debugger.enable',
  'Debugger.pause',
  'Debugger.resume',
  'Debugger.disable',
] as const
type Request = (typeof REQUESTS)[number]
const LAST_ID = REQUESTS.indexOf('Debugger.disable')

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
/** The answer to the last request. */
const Done = z.object({ id: z.literal(LAST_ID) })
const Message = z.union([Paused, Parsed, Done])

type Frames = z.infer<typeof Paused>['params']['callFrames']

/**
 * What a thread of this process is doing, innermost call first, a line each. The thread is paused for a
 * moment, also in the middle of a loop. Null if it does not come to a stop in time: then it is in native
 * code, such as a read that does not return.
 * @param script URL of the main module of the thread
 */
export function stackOfThread(script: string, withinMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    // A thread that comes to a stop only later finds this session still there, and is let go by it.
    const timer = setTimeout(resolve, withinMs, null).unref()
    const session = new Session()
    const urls = new Map<string, string>()
    const send = (sessionId: string, methods: readonly Request[]): void => {
      for (const method of methods) {
        const message = JSON.stringify({ id: REQUESTS.indexOf(method), method, params: {} })
        session.post('NodeWorker.sendMessageToWorker', { sessionId, message })
      }
    }
    session.connect()
    session.on('NodeWorker.attachedToWorker', ({ params: { sessionId, workerInfo } }) => {
      if (workerInfo.url === script) send(sessionId, ['Debugger.enable', 'Debugger.pause'])
    })
    session.on('NodeWorker.receivedMessageFromWorker', ({ params: { sessionId, message } }) => {
      const told = Message.safeParse(JSON.parse(message))
      if (!told.success) return
      if ('id' in told.data) {
        session.disconnect()
        return
      }
      const { method, params } = told.data
      if (method === 'Debugger.scriptParsed') {
        urls.set(params.scriptId, params.url)
        return
      }
      send(sessionId, ['Debugger.resume', 'Debugger.disable'])
      clearTimeout(timer)
      resolve(written(params.callFrames, urls))
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
