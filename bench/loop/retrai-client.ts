import { once } from 'node:events'
import * as z from 'zod'
import { ITERATIONS } from './script.ts'

const Created = z.object({ run_id: z.string() })
const RunEnd = z.object({
  kind: z.literal('run_end'),
  payload: z.object({ iterations: z.literal(ITERATIONS) }),
})
/** One turn an iteration. Earlier servers, whose iterations have one turn, refuse the setting and do not need it. */
const ONE_TURN = { max_turns_per_iteration: 1 }
/** All runs read the same folder at once. */
const IDLE = { goal: 'idle', max_iterations: ITERATIONS, shared: true }

/** Starts a run over HTTP and waits for its end on a WebSocket. */
export async function runOnRetrai(
  serverUrl: string,
  project: string,
  { signal, limits = ONE_TURN }: { readonly signal: AbortSignal; readonly limits?: object },
): Promise<void> {
  const response = await fetch(`${serverUrl}/api/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...IDLE, cwd: project, ...limits }),
    signal,
  })
  if (!response.ok) throw new Error(await response.text())
  const { run_id } = Created.parse(await response.json())
  RunEnd.parse(JSON.parse(await runEndOf(serverUrl, run_id, signal)))
}

async function runEndOf(serverUrl: string, runId: string, signal: AbortSignal): Promise<string> {
  const url = `${serverUrl.replace(/^http/, 'ws')}/api/ws/${runId}?kinds=run_end`
  const socket = new WebSocket(url)
  try {
    const closed = once(socket, 'close', { signal }).then(([{ code }]) => {
      throw new Error(`the socket closed with ${code}, no run_end`)
    })
    const [{ data }] = await Promise.race([once(socket, 'message', { signal }), closed])
    closed.catch(() => {})
    return String(data)
  } finally {
    socket.close()
  }
}
