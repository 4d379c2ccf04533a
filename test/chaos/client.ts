import * as z from 'zod'
import type { Acknowledged } from './evidence.ts'

export type Answer = { readonly status: number; readonly body: unknown }

type Request = readonly [
  method: 'POST' | 'PATCH',
  path: string,
  body: unknown,
  headers?: Readonly<Record<string, string>>,
]

const Created = z.object({ run_id: z.uuid() })

/** A client of one server. An answer is null if the server is gone, or dies before it answers. */
export class Client {
  readonly url: string
  readonly #signal: AbortSignal

  /** @param signal ends its requests without an answer */
  constructor(url: string, signal: AbortSignal) {
    this.url = url
    this.#signal = signal
  }

  send(...[method, path, body, headers = {}]: Request): Promise<Answer | null> {
    return this.get(path, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
  }

  async get(path: string, init: RequestInit = {}): Promise<Answer | null> {
    try {
      const response = await fetch(`${this.url}${path}`, { ...init, signal: this.#signal })
      return { status: response.status, body: await response.json() }
    } catch {
      return null
    }
  }

  /** Sends a command. If the server acknowledges it, `noted` gets what that promises. */
  async command(
    noted: Acknowledged[],
    promise: Acknowledged,
    ...request: Request
  ): Promise<Answer | null> {
    const answer = await this.send(...request)
    if (answer !== null && answer.status < 300) noted.push(promise)
    return answer
  }

  /** Creates a run in a project, or finds the one that the same request has created; null if that is unknown. */
  async create(cwd: string, body: Readonly<Record<string, unknown>>): Promise<string | null> {
    const request = { goal: 'shell-goal', model_name: 'scripted', cwd, ...body }
    // No earlier run on the same store has used this key.
    const answer = await this.send('POST', '/api/runs', request, { 'idempotency-key': cwd })
    if (answer === null || answer.status === 503) return null
    if (answer.status !== 201 && answer.status !== 200) {
      throw new Error(`a run was refused with ${answer.status}: ${JSON.stringify(answer.body)}`)
    }
    return Created.parse(answer.body).run_id
  }
}
