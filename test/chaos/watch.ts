import WebSocket from 'ws'
import * as z from 'zod'
import type { Observation } from './evidence.ts'

/** What those who react to frames read of them. */
const Frame = z.looseObject({
  kind: z.string(),
  seq: z.int(),
  iteration: z.int(),
  payload: z.record(z.string(), z.unknown()),
})
export type Frame = z.infer<typeof Frame>

/** Why the server ends an observation: a frame that no record stands behind, at the cursor itself. */
const isRefusal = ({ kind, seq, iteration }: Frame, cursor: number): boolean =>
  kind === 'error' && iteration === 0 && seq === cursor

/** The code that a connection is closed with once the run has ended and all of it was sent. */
const COMPLETE = 1000

/** Watches all records of a run behind `after` in one connection. */
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
