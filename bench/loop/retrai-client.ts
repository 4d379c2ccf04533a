import * as z from 'zod'
import { ITERATIONS } from './script.ts'

const Created = z.object({ run_id: z.string() })
const RunEnd = z.object({
  kind: z.literal('run_end'),
  payload: z.object({ iterations: z.literal(ITERATIONS) }),
})

/** Starts a run over HTTP and waits for its end on a WebSocket. */
export async function runOnRetrai(serverUrl: string, project: string): Promise<void> {
  const response = await fetch(`${serverUrl}/api/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...{ goal: 'idle', cwd: project },
      ...{ max_iterations: ITERATIONS, max_turns_per_iteration: 1 },
    }),
  })
  if (!response.ok) throw new Error(await response.text())
  const { run_id } = Created.parse(await response.json())
  RunEnd.parse(JSON.parse(await runEndOf(serverUrl, run_id)))
}

function runEndOf(serverUrl: string, runId: string): Promise<string> {
  const url = `${serverUrl.replace(/^http/, 'ws')}/api/ws/${runId}?kinds=run_end`
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url)
    socket.onmessage = ({ data }) => resolve(String(data))
    socket.onclose = ({ code }) => reject(new Error(`the socket closed with ${code}, no run_end`))
  })
}
