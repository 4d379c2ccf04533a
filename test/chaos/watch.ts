import WebSocket from 'ws'
import * as z from 'zod'
import type { Observation } from './evidence.ts'

/** The members of a frame that `onFrame` may read. */
const Frame = z.looseObject({
  kind: z.string(),
  seq: z.int(),
  iteration: z.int(),
  payload: z.record(z.string(), z.unknown()),
})
export type Frame = z.infer<typeof Frame>

/** Whether a frame gives the reason why the server ends an observation: it is not a record, and its seq is the cursor. */
const isRefusal = ({ kind, seq, iteration }: Frame, cursor: number): boolean =>
  kind === 'error' && iteration === 0 && seq === cursor

/** The code that closes a connection after the whole run was sent. */
const COMPLETE = 1000

/** Watches all records of a run after the seq `after`, in one connection. */
export function watch(
  url: string,
  runId: string,
  options: {
    readonly after?: number
    readonly signal: AbortSignal
    readonly onFrame?: (frame: Frame) => void
  },
): Promise<Observation> {
  const { after = -1, signal, onFrame } = options
  const path = `${url.replace(/^http/, 'ws')}/api/ws/${runId}?kinds=all&after=${after}`
  const socket = new WebSocket(path)
  const frames: string[] = []
  const leave = () => socket.terminate()
  signal.addEventListener('abort', leave)
  socket.on('error', () => {})
  socket.on('message', (data: Buffer) => {
    const text = data.toString()
    const frame = Frame.parse(JSON.parse(text))
    if (isRefusal(frame, after + frames.length)) return
    frames.push(text)
    onFrame?.(frame)
  })
  return new Promise((resolve) => {
    socket.once('close', (code) => {
      signal.removeEventListener('abort', leave)
      resolve({ after, frames, complete: code === COMPLETE })
    })
    if (signal.aborted) leave()
  })
}
