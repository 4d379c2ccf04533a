import type { ServerResponse } from 'node:http'
import type { Fault, Turn } from './script.ts'

export function send(
  response: ServerResponse,
  status: number,
  content: string,
  type = 'application/json',
  headers: Readonly<Record<string, string>> = {},
): void {
  const length = Buffer.byteLength(content)
  response.writeHead(status, { 'content-type': type, 'content-length': length, ...headers })
  response.end(content)
}

/** Sends events one by one, so that a client sees each as soon as the network brings it. */
export async function stream(
  response: ServerResponse,
  events: readonly string[],
  { beforePiece }: Pick<Turn, 'beforePiece'>,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const [piece, event] of events.entries()) {
    if (beforePiece !== undefined) await beforePiece(piece)
    response.write(event)
  }
  response.end()
}

const BEGUN = 'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"I "}}]}\n\n'

/** The body of an error, as OpenAI writes it. */
export function problem(message: string): string {
  return JSON.stringify({ error: { message, type: 'scripted', code: null } })
}

/** Answers in the way that `fault` describes. */
export function fail(response: ServerResponse, fault: Fault, isStream: boolean): void {
  if ('status' in fault) {
    const { status, body = problem(`scripted failure ${status}`), headers } = fault
    const content = typeof body === 'string' ? body : JSON.stringify(body)
    send(response, status, content, 'application/json', headers)
    return
  }
  switch (fault.fault) {
    case 'hang':
      break
    case 'drop':
      response.socket?.destroy()
      break
    case 'cut':
      if (isStream) {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(BEGUN, () => response.socket?.destroy())
        break
      }
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 })
      response.write('{"choices": [', () => response.socket?.destroy())
      break
    case 'garbage':
      send(response, 200, '<html><body>It works!</body></html>', 'text/html')
      break
    case 'empty':
      send(response, 200, JSON.stringify({ object: 'chat.completion', choices: [] }))
      break
  }
}
