import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, Client } from './client.ts'
import type { Acknowledged } from './evidence.ts'
import type { Random } from './random.ts'

/** How long a person waits for an answer, milliseconds. */
const PATIENCE_MS = 15_000
const RETRY_MS = 50
/** The request succeeded, the state of the run forbids it, or the store is not available. */
const EXPECTED: ReadonlySet<number> = new Set([200, 409, 503])

/** A person who creates a run, answers its human checks, and changes or aborts it, over any server that listens. */
export class Person {
  readonly acknowledged: Acknowledged[] = []
  /** Answers that no server may give. */
  readonly complaints: string[] = []
  readonly #anyUrl: () => Promise<string>
  readonly #random: Random
  readonly #signal: AbortSignal

  /** @param signal ends all attempts */
  constructor(anyUrl: () => Promise<string>, random: Random, signal: AbortSignal) {
    this.#anyUrl = anyUrl
    this.#random = random
    this.#signal = signal
  }

  /** Creates the run. Repeats the request with the same key until the id is known; null when the time is up. */
  async create(key: string, body: Readonly<Record<string, unknown>>): Promise<string | null> {
    while (!this.#signal.aborted) {
      const clients = [await this.#client(), await this.#client()]
      const twins = this.#random.chance(0.3) ? clients : clients.slice(0, 1)
      const ids = await Promise.all(twins.map((client) => client.create(key, body)))
      const known = new Set(ids.filter((id) => id !== null))
      if (known.size > 1) this.complaints.push(`the key ${key} made ${[...known].join(' and ')}`)
      const [id] = known
      if (id !== undefined) {
        this.acknowledged.push({ type: 'created' })
        return id
      }
      await delay(RETRY_MS)
    }
    return null
  }

  /** Answers a human check: once, or twice at the same time; sometimes it first answers an older check. */
  async answer(runId: string, seq: number): Promise<void> {
    const path = `/api/runs/${runId}/resume`
    await delay(this.#random.int(0, 200))
    if (this.#random.chance(0.4)) {
      const stale = await this.#post(path, { decision: 'approve', seq: seq - 1 })
      if (stale?.status === 200) this.complaints.push(`${runId} took an answer to ${seq - 1}`)
    }
    while (!this.#signal.aborted) {
      const count = this.#random.chance(0.3) ? 2 : 1
      const settled = await Promise.all(
        Array.from({ length: count }, () => this.#decide(path, seq)),
      )
      if (settled.some((known) => known)) return
      await delay(RETRY_MS)
    }
  }

  async abort(runId: string): Promise<void> {
    const answer = await this.#post(`/api/runs/${runId}/abort`, { reason: 'chaos' })
    if (answer?.status === 200) this.acknowledged.push({ type: 'aborted' })
  }

  async configure(runId: string): Promise<void> {
    const changes = { max_iterations: this.#random.int(2, 6) }
    // 422: the run has used more already.
    const expected = new Set([...EXPECTED, 422])
    const answer = await this.#send('PATCH', `/api/runs/${runId}/config`, changes, expected)
    if (answer?.status === 200) this.acknowledged.push({ type: 'configured', changes })
  }

  /** Whether the human check is answered now, by this decision or by another. */
  async #decide(path: string, seq: number): Promise<boolean> {
    const decision = this.#random.chance(0.85) ? 'approve' : 'abort'
    const answer = await this.#post(path, { decision, seq })
    if (answer?.status === 200) this.acknowledged.push({ type: 'resumed', seq, decision })
    return answer?.status === 200 || answer?.status === 409
  }

  #post(path: string, body: unknown): Promise<Answer | null> {
    return this.#send('POST', path, body)
  }

  async #send(
    method: 'POST' | 'PATCH',
    path: string,
    body: unknown,
    expected: ReadonlySet<number> = EXPECTED,
  ): Promise<Answer | null> {
    const client = await this.#client()
    const answer = await client.send(method, path, body)
    if (answer !== null && !expected.has(answer.status)) {
      this.complaints.push(`${method} ${path} was answered ${JSON.stringify(answer)}`)
    }
    return answer
  }

  async #client(): Promise<Client> {
    const patience = AbortSignal.timeout(PATIENCE_MS)
    return new Client(await this.#anyUrl(), AbortSignal.any([patience, this.#signal]))
  }
}
