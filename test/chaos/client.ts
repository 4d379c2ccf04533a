import * as z from 'zod'

export type Answer = { readonly status: number; readonly body: unknown }

/** The answer; null if the server is gone, or dies before it answers. */
async function ask(
  url: string,
  init: RequestInit & { readonly signal: AbortSignal },
): Promise<Answer | null> {
  try {
    const response = await fetch(url, init)
    return { status: response.status, body: await response.json() }
  } catch {
    return null
  }
}

const Created = z.object({ run_id: z.uuid() })

/** A client of one server. When `signal` aborts, its requests end without an answer. */
export class Client {
  readonly url: string
  readonly #signal: AbortSignal

  constructor(url: string, signal: AbortSignal) {
    this.url = url
    this.#signal = signal
  }

  send(
    method: 'POST' | 'PATCH',
    path: string,
    body: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer | null> {
    return ask(`${this.url}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      signal: this.#signal,
    })
  }

  get(path: string): Promise<Answer | null> {
    return ask(`${this.url}${path}`, { signal: this.#signal })
  }

  /** Creates a run, or finds the run that the same key has created; null if that is unknown. */
  async create(key: string, body: Readonly<Record<string, unknown>>): Promise<string | null> {
    const answer = await this.send('POST', '/api/runs', body, { 'idempotency-key': key })
    if (answer === null || answer.status === 503) return null
    if (answer.status !== 201 && answer.status !== 200) {
      throw new Error(`a run was refused with ${answer.status}: ${JSON.stringify(answer.body)}`)
    }
    return Created.parse(answer.body).run_id
  }
}
