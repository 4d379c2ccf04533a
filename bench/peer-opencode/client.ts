import * as z from 'zod'
import { ITERATIONS, PROMPT } from '../loop/script.ts'
import { MODEL } from './config.ts'

const Session = z.object({ id: z.string() })
const Answer = z.object({ info: z.object({ finish: z.literal('stop') }) })
const Messages = z.array(
  z.object({
    parts: z.array(
      z.object({ type: z.string(), state: z.object({ status: z.string() }).optional() }),
    ),
  }),
)

/** Creates a session that works until the model reports that it is done. Resolves to the session. */
export async function runOnOpencode(serverUrl: string, signal: AbortSignal): Promise<string> {
  // Without a title, it asks a model for one.
  const { id } = Session.parse(await post(`${serverUrl}/session`, { title: 'bench' }, signal))
  const message = { model: MODEL, parts: [{ type: 'text', text: PROMPT }] }
  Answer.parse(await post(`${serverUrl}/session/${id}/message`, message, signal))
  return id
}

/** @throws unless the session has read the file as often as the script asks */
export async function checkSession(
  serverUrl: string,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const response = await fetch(`${serverUrl}/session/${id}/message`, { signal })
  const parts = Messages.parse(await response.json()).flatMap((message) => message.parts)
  const done = parts.filter(({ type, state }) => type === 'tool' && state?.status === 'completed')
  if (done.length !== ITERATIONS) throw new Error(`opencode completed ${done.length} tool calls`)
}

async function post(url: string, body: object, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  })
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  return response.json()
}
