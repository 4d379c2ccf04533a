import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, Client } from './client.ts'
import type { Acknowledged } from './evidence.ts'
import type { Random } from './random.ts'

/** How long a person waits for an answer, milliseconds. */
const PATIENCE_MS = 15_000
const RETRY_MS = 50
/** The request succeeded, the state of the run forbids it, or the store is not available. 422: the run has used more already. */
const EXPECTED: Readonly<Record<'POST' | 'PATCH', readonly number[]>> = {
  POST: [200, 409, 503],
  PATCH: [200, 409, 422, 503],
}

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

  /** Creates the run in a project. Repeats the request until the id is known; null when the time is up. */
  async create(project: string, body: Readonly<Record<string, unknown>>): Promise<string | null> {
    while (!this.#signal.aborted) {
      const clients = [await this.#client(), await this.#client()]
      const twins = this.#random.chance(0.3) ? clients : clients.slice(0, 1)
      const ids = await Promise.all(twins.map((client) => client.create(project, body)))
      const known = new Set(ids.filter((id) => id !== null))
      if (known.size > 1)
        this.complaints.push(`${project} has the runs ${[...known].join(' and ')}`)
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
    await delay(this.#random.int(0, 200))
    if (this.#random.chance(0.4)) {
      const answer = await this.#decide(runId, seq - 1, 'approve')
      if (answer?.status === 200) this.complaints.push(`${runId} took an answer to ${seq - 1}`)
    }
    while (!this.#signal.aborted) {
      const answers = Array.from({ length: this.#random.chance(0.3) ? 2 : 1 }, () =>
        this.#decide(runId, seq, this.#random.chance(0.85) ? 'approve' : 'abort'),
      )
      const statuses = (await Promise.all(answers)).map((answer) => answer?.status)
      // It is answered now, by this decision or by another.
      if (statuses.some((status) => status === 200 || status === 409)) return
      await delay(RETRY_MS)
    }
  }

  async abort(runId: string): Promise<void> {
    await this.#command({ type: 'aborted' }, 'POST', `/api/runs/${runId}/abort`, {
      reason: 'chaos',
    })
  }

  async configure(runId: string): Promise<void> {
    const changes = { max_iterations: this.#random.int(2, 6) }
    await this.#command(
      { type: 'configured', changes },
      'PATCH',
      `/api/runs/${runId}/config`,
      changes,
    )
  }

  #decide(runId: string, seq: number, decision: 'approve' | 'abort'): Promise<Answer | null> {
    const body = { decision, seq }
    return this.#command({ type: 'resumed', ...body }, 'POST', `/api/runs/${runId}/resume`, body)
  }

  async #command(
    promise: Acknowledged,
    method: 'POST' | 'PATCH',
    path: string,
    body: unknown,
  ): Promise<Answer | null> {
    const client = await this.#client()
    const answer = await client.command(this.acknowledged, promise, method, path, body)
    if (answer !== null && !EXPECTED[method].includes(answer.status)) {
      this.complaints.push(`${method} ${path} was answered ${JSON.stringify(answer)}`)
    }
    return answer
  }

  async #client(): Promise<Client> {
    const patience = AbortSignal.timeout(PATIENCE_MS)
    return new Client(await this.#anyUrl(), AbortSignal.any([patience, this.#signal]))
  }
}
