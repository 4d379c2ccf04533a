import type { IncomingHttpHeaders } from 'node:http'

/** The parts of a request that a script may use. */
export type ScriptedRequest = {
  readonly model: string
  readonly messages: readonly ScriptedMessage[]
  /** Names of the tools on offer. */
  readonly tools: readonly string[]
  /** The number of this reply in its conversation, from 0: the number of assistant messages in the request. */
  readonly turn: number
  /** The same for all requests of one conversation: model and messages before the first reply. */
  readonly conversation: string
  readonly stream: boolean
  readonly headers: IncomingHttpHeaders
}

export type ScriptedMessage = {
  readonly role: string
  readonly content: string
  /** The addresses of images in it. */
  readonly images?: readonly string[]
  readonly tool_calls?: readonly unknown[] | undefined
  readonly tool_call_id?: string | undefined
}

/** One reply. */
export type Turn = {
  readonly text?: string
  readonly calls?: readonly { readonly tool: string; readonly args: Record<string, unknown> }[]
  /** Tokens. By default, they are estimated from the sizes of request and reply. */
  readonly usage?: { readonly input: number; readonly output: number; readonly cached?: number }
  readonly delayMs?: number
  /** Called and awaited before each piece of a streamed reply. Pieces are counted from 0. */
  readonly beforePiece?: (piece: number) => void | Promise<void>
  readonly finishReason?: string
  /** The answers to the first requests for this reply, in each conversation. */
  readonly first?: readonly Fault[]
}

/** A faulty answer. A `body` that is not a string is sent as JSON. */
export type Fault =
  | {
      readonly status: number
      readonly body?: unknown
      readonly headers?: Readonly<Record<string, string>>
    }
  /**
   * `hang`: no answer ever. `drop`: the connection breaks at once. `cut`: it breaks in the middle of the answer.
   * `garbage`: a page of HTML with status 200. `empty`: a completion without choices.
   */
  | { readonly fault: 'hang' | 'drop' | 'cut' | 'garbage' | 'empty' }

/**
 * The answers of the stand-in. A list holds the replies of every conversation in order. The request itself shows which
 * reply is next, so a repeated request gets the same reply, and conversations do not disturb each other. A client that leaves out old turns
 * needs a function instead.
 */
export type Script =
  | readonly (Turn | Fault)[]
  | ((request: ScriptedRequest) => Turn | Fault | Promise<Turn | Fault>)

export function isFault(answer: Turn | Fault): answer is Fault {
  return 'status' in answer || 'fault' in answer
}

const THE_END: Turn = { text: 'My script ends here.' }

/** Makes the function that answers requests by `script`. It only remembers which faults are used up. */
export function player(script: Script): (request: ScriptedRequest) => Promise<Turn | Fault> {
  const used = new Map<string, number>()
  return async (request) => {
    const answer =
      typeof script === 'function' ? await script(request) : (script[request.turn] ?? THE_END)
    if (isFault(answer) || answer.first === undefined) return answer
    const key = `${request.turn} ${request.conversation}`
    const attempt = used.get(key) ?? 0
    used.set(key, attempt + 1)
    return answer.first[attempt] ?? answer
  }
}
