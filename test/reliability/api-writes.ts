import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import * as z from 'zod'
import { streamOf } from '../../src/log/run-log.ts'
import type { EventStore, RecordedEvent } from '../../src/store/event-store.ts'
import { type Answer, answered, runIn, type Site, type SiteServer, until } from '../support/site.ts'

/** The token of the servers whose answers are compared with their log. */
export const TOKEN = 'a-token-for-tests-of-every-write'

/** The model asks a person at once, so every run waits. */
export const ASKING = () => ({
  text: 'I have a question about this, which nobody has answered yet.',
})

type Write = {
  readonly name: string
  /** Makes what the write needs; no fault is active. @returns an id */
  readonly prepare: (site: Site, server: SiteServer) => Promise<string>
  readonly send: (server: SiteServer, id: string) => Promise<Answer>
  readonly isStored: (log: readonly RecordedEvent[], id: string) => boolean
}

async function waitingRun(site: Site, server: SiteServer): Promise<string> {
  const cwd = await site.project(randomUUID())
  const wanted = runIn(cwd, { hitl_enabled: true })
  // A store that has just come back may refuse some more.
  const { body } = await until(() => server.ask('POST', '/api/runs', wanted), answered(201))
  const runId = String(body.run_id)
  await server.untilStatus(runId, 'awaiting_human')
  return runId
}

const Frames = z.array(z.looseObject({ kind: z.string(), seq: z.int() }))

const newName = (): string => `t${randomUUID().slice(0, 8)}`
const createToken = (server: SiteServer, name: string): Promise<Answer> =>
  server.ask('POST', '/api/tokens', { name, role: 'viewer' })

type Stored = (stream: string, kind: string, text?: string) => (event: RecordedEvent) => boolean
const isStoredIn: Stored =
  (stream, kind, text = '') =>
  (event) =>
    event.stream === stream && event.type === kind && event.data.includes(text)

/** A command on a run that waits for a person. */
const onRun = (
  name: string,
  [method, path, body]: readonly [method: string, path: string, body: object],
  ...[kind, text]: readonly [kind: string, text?: string]
): Write => ({
  name,
  prepare: waitingRun,
  send: (server, id) => server.ask(method, `/api/runs/${id}/${path}`, body),
  isStored: (log, id) => log.some(isStoredIn(streamOf(id), kind, text)),
})

/** Every request of the API that writes to the log. */
const WRITES: readonly Write[] = [
  {
    name: 'create a run',
    prepare: (site) => site.project(randomUUID()),
    send: (server, cwd) => server.ask('POST', '/api/runs', runIn(cwd, { hitl_enabled: true })),
    isStored: (log, cwd) =>
      log.some(({ type, data }) => type === 'run_created' && data.includes(cwd)),
  },
  onRun('resume a run', ['POST', 'resume', { decision: 'approve' }], 'human_check_response'),
  onRun('abort a run', ['POST', 'abort', { reason: 'enough' }], 'run_end', '"aborted"'),
  onRun('configure a run', ['PATCH', 'config', { max_iterations: 9 }], 'run_config_changed'),
  {
    name: 'redact a text',
    prepare: async (site, server) => {
      const runId = await waitingRun(site, server)
      // What a run still needs cannot be redacted.
      const isDone = ({ status }: Answer): boolean => status < 500
      await until(() => server.ask('POST', `/api/runs/${runId}/abort`, {}), isDone)
      const history = `/api/runs/${runId}/events?kinds=all`
      const { body } = await until(() => server.ask('GET', history), isDone)
      const message = Frames.parse(body).find(({ kind }) => kind === 'assistant_message')
      return `${runId}:${message?.seq}`
    },
    send: (server, place) => {
      const [runId = '', seq] = place.split(':')
      const request = { seq: Number(seq), pointer: '/text', reason: 'it is private' }
      return server.ask('POST', `/api/runs/${runId}/redact`, request)
    },
    isStored: (log, place) =>
      log.some(isStoredIn('retrai-redactions', 'redacted', place.split(':')[0])),
  },
  {
    name: 'create a token',
    prepare: async () => newName(),
    send: createToken,
    isStored: (log, name) => log.some(isStoredIn('retrai-tokens', 'token_created', `"${name}"`)),
  },
  {
    name: 'revoke a token',
    prepare: async (_, server) => {
      const name = newName()
      const { body } = await until(() => createToken(server, name), answered(201))
      return String(body.id)
    },
    send: (server, id) => server.ask('DELETE', `/api/tokens/${id}`),
    isStored: (log, id) => log.some(isStoredIn('retrai-tokens', 'token_revoked', id)),
  },
]

/** What an answer says about its write. */
export type Claim = 'done' | 'nothing was done' | 'unknown'

function claimOf({ status, body }: Answer): Claim {
  const code = String(body.type).replace('urn:retrai:problem:', '')
  if (status < 300 || code === 'redaction_pending') return 'done'
  if (code === 'outcome_unknown') return 'unknown'
  if (code === 'store_failed' || code === 'store_unavailable') return 'nothing was done'
  throw new Error(`an answer that says nothing of the write: ${status} ${JSON.stringify(body)}`)
}

type Claimed = { readonly write: Write; readonly id: string; readonly claim: Claim }

/** What the answers to some writes say, and whether that is what the log holds. */
export class EveryWrite {
  readonly #site: Site
  readonly #server: SiteServer
  readonly #claims: Claimed[] = []

  constructor(site: Site, server: SiteServer) {
    this.#site = site
    this.#server = server
  }

  /**
   * Makes every write once, one after the other.
   * @param begin called before each write: begins a fault
   */
  async cross(begin: (write: string) => Promise<unknown>): Promise<Claim[]> {
    const ids = await this.#prepare()
    const claims: Claim[] = []
    for (const [index, write] of WRITES.entries()) {
      await begin(write.name)
      claims.push(await this.#claim(write, ids[index]))
    }
    return claims
  }

  /** Makes every write once, all at the same time, after `begin` has begun a fault. */
  async crossAtOnce(begin: () => Promise<unknown>): Promise<Claim[]> {
    const ids = await this.#prepare()
    await begin()
    return Promise.all(WRITES.map((write, index) => this.#claim(write, ids[index])))
  }

  #prepare(): Promise<string[]> {
    return Promise.all(WRITES.map((write) => write.prepare(this.#site, this.#server)))
  }

  async #claim(write: Write, id = ''): Promise<Claim> {
    const claim = claimOf(await write.send(this.#server, id))
    this.#claims.push({ write, id, claim })
    return claim
  }

  /** Fails for each answer that the log contradicts. */
  compare(log: readonly RecordedEvent[]): void {
    const lies = this.#claims.flatMap(({ write, id, claim }) => {
      const stored = write.isStored(log, id)
      const agrees = claim === 'unknown' || stored === (claim === 'done')
      return agrees ? [] : [`${write.name}: "${claim}", and it is ${stored ? '' : 'not '}stored`]
    })
    expect(lies).toEqual([])
  }
}

/** All that a store holds. */
export async function everything(store: EventStore): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = []
  const { signal } = new AbortController()
  for await (const item of store.subscribeAll({ after: null, prefix: '', signal })) {
    if (item.type === 'events') events.push(...item.events)
    if (item.type === 'caught_up') break
  }
  return events
}
