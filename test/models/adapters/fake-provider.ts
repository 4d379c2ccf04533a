import { bytes, streamOf } from './support.ts'

/** What a fake provider replies with. */
export type Planned = {
  readonly text: string
  readonly calls: readonly { readonly path: string }[]
  readonly end: 'whole' | 'cut' | 'refused' | 'paused' | 'empty'
}

export type Json = Record<string, unknown>

/** A provider that keeps to the documented rules of its API and refuses each request that breaks one. */
export abstract class FakeProvider {
  #replies = 0

  respond(body: Json, planned: Planned): Response {
    const message = this.broken(body)
    if (message !== null) {
      const error = { type: 'invalid_request_error', message }
      return Response.json({ error }, { status: 400 })
    }
    this.#replies += 1
    return streamOf([bytes(this.reply(body, planned, this.#replies))])
  }

  /** The rule that a request breaks; null if it breaks none. */
  protected abstract broken(body: Json): string | null
  /** The stream of a reply. @param n counts the replies of this provider from 1 */
  protected abstract reply(body: Json, planned: Planned, n: number): string
}
