import { styleText } from 'node:util'

/** An event as the WebSocket sends it. */
export type AgentEvent = {
  readonly kind: string
  readonly run_id: string
  readonly iteration: number
  readonly ts: number
  readonly seq: number
  readonly payload: Readonly<Record<string, unknown>>
}

/** Watches a run to its end; resolves to all that was seen, in the order it came. */
export function observe(
  serverUrl: string,
  runId: string,
  onEvent: (event: AgentEvent) => void = () => {},
): Promise<AgentEvent[]> {
  const url = `${serverUrl.replace(/^http/, 'ws')}/api/ws/${runId}`
  return new Promise((resolve, reject) => {
    const seen: AgentEvent[] = []
    const socket = new WebSocket(url)
    socket.onmessage = ({ data }) => {
      const event: AgentEvent = JSON.parse(String(data))
      seen.push(event)
      onEvent(event)
    }
    socket.onclose = ({ code, reason }) =>
      code === 1000 ? resolve(seen) : reject(new Error(`closed with ${code} ${reason}`))
  })
}

const shorten = (value: unknown, length: number): string => {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > length ? `${line.slice(0, length - 1)}…` : line
}

function gist({ kind, payload }: AgentEvent): string {
  switch (kind) {
    case 'step_start':
      return String(payload.node)
    case 'tool_call':
      return `${payload.tool} ${shorten(payload.args, 70)}`
    case 'tool_result':
      return `${payload.tool} exit ${payload.exit_code}: ${shorten(payload.output, 60)}`
    case 'llm_usage':
      return `${payload.input_tokens} tokens in, ${payload.output_tokens} out`
    case 'goal_check':
      return `${payload.achieved ? 'reached' : 'not reached'}: ${payload.reason}`
    default:
      return shorten(payload, 90)
  }
}

/** One line for people: seq, iteration, kind, what happened. */
export function line(event: AgentEvent): string {
  const seq = String(event.seq).padStart(4)
  const kind = event.kind.padEnd(18)
  const colour = event.kind === 'goal_check' || event.kind === 'run_end' ? 'bold' : 'reset'
  return `${seq}  it ${event.iteration}  ${styleText('cyan', kind)} ${styleText(colour, gist(event))}`
}
