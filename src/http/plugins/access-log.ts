import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import * as z from 'zod'
import { VERIFYING } from '../../api/audit.ts'
import { RunId } from '../../api/fields.ts'
import type { AccessRecorder } from '../../audit/access-log/access-recorder.ts'
import type { Access } from '../../audit/access-log/access-windows.ts'
import type { GrantedKind } from '../../domain/access.ts'
import { sha256 } from '../../lib/sha256.ts'
import { ProblemError } from '../problems/problem.ts'
import { EVENT_STREAM } from '../replies/format.ts'

/** What each operation shows of the log, for the access log. A test fails if one that shows something is missing. */
export const SHOWN: Readonly<Record<string, GrantedKind>> = {
  listRuns: 'runs_listed',
  getRun: 'run_read',
  diffRun: 'run_read',
  readConversation: 'run_read',
  readArtifact: 'run_read',
  runEvents: 'run_read',
  listRedactions: 'run_read',
  watchRun: 'run_watched',
  exportRun: 'run_exported',
  proveRun: 'run_verified',
  proveInclusion: 'run_verified',
  allEvents: 'feed_read',
  watchAll: 'feed_watched',
  listCheckpoints: 'checkpoints_read',
  readCheckpoint: 'checkpoints_read',
  listCheckpointRuns: 'checkpoints_read',
  listAccesses: 'ledger_read',
  proveAccesses: 'ledger_read',
  listLedgers: 'ledger_read',
  readLedger: 'ledger_read',
  listTokens: 'ledger_read',
}

type Recorder = Pick<AccessRecorder, 'note'>

/** Records every answer under /api that shows something of the log, and every refusal. */
export const logAccesses = fp<{ readonly recorder: Recorder }>(
  async (app, { recorder }) => {
    app.addHook('onRoute', (route) => {
      const operation = route.schema?.operationId
      if (operation === undefined || !route.url.startsWith('/api/')) return
      route.onSend = [noteAnswer(recorder, SHOWN[operation]), ...[route.onSend ?? []].flat()]
    })
  },
  { name: 'access-log' },
)

type OnSend = Extract<NonNullable<RouteOptions['onSend']>, (...args: never) => unknown>

function noteAnswer(recorder: Recorder, kind: GrantedKind | undefined): OnSend {
  return (request, reply, payload, done) => {
    const { statusCode: status } = reply
    if (status === 401 || status === 403) {
      void recorder.note({ ...auditContext(request), asked: '', kind: 'access_refused', status })
      return done(null, payload)
    }
    if (kind === undefined || status >= 400 || isWatch(reply)) return done(null, payload)
    const granted = recorder.note({
      ...auditContext(request),
      kind: isVerifying(request) ? 'run_verified' : kind,
    })
    if (granted === true) return done(null, payload)
    void Promise.resolve(granted).then((isWritten) => {
      if (isWritten) return done(null, payload)
      if (payload instanceof Readable) payload.destroy()
      for (const name of ['etag', 'cache-control', 'link', 'content-disposition']) {
        reply.removeHeader(name)
      }
      done(new ProblemError(NOT_WRITTEN))
    })
  }
}

/**
 * A client that only verifies names that purpose, because it shows the run to nobody. Any client can name it, so the entry
 * also names the operation.
 */
const isVerifying = (request: FastifyRequest): boolean =>
  request.headers[VERIFYING.name] === VERIFYING.value &&
  Params.parse(request.params).run_id !== undefined

/** The code that serves a watch records it, because it knows how the watch ends. */
export const isWatch = (reply: FastifyReply): boolean =>
  String(reply.getHeader('content-type')).startsWith(EVENT_STREAM)

/** How a server that must record every access refuses one that it cannot record. */
export const NOT_WRITTEN = {
  code: 'store_unavailable',
  detail:
    'This server answers only if it can record the access in its access log, and the event store does not accept the entry. Try again in a moment.',
} as const

/** One watch of records, for the access log. */
export type Watched = {
  /** The seq of the last record that was sent or, for all runs, its cursor. */
  last: number | string | null
  /** Call it before the first record is sent. @returns whether records may be sent */
  begin(): boolean | Promise<boolean>
  end(): void
}

/** Records watches in the access log. */
export class WatchLog {
  /** Null if there is no access log. */
  readonly #recorder: Recorder | null
  /** Seconds since the epoch. */
  readonly #clock: () => number

  constructor(recorder: Recorder | null, clock: () => number) {
    this.#recorder = recorder
    this.#clock = clock
  }

  watch(request: FastifyRequest, kind: Watch['kind']): Watched {
    const recorder = this.#recorder
    if (recorder === null) return new Unrecorded()
    return new Recorded(recorder, this.#clock, { ...auditContext(request), kind })
  }
}

class Unrecorded implements Watched {
  last: Watched['last'] = null

  begin(): boolean {
    return true
  }

  end(): void {}
}

type Watch = AuditContext & { readonly kind: 'run_watched' | 'feed_watched' }

class Recorded implements Watched {
  last: Watched['last'] = null
  readonly #recorder: Recorder
  readonly #clock: () => number
  readonly #watch: Watch
  #began: number | null = null

  constructor(recorder: Recorder, clock: () => number, watch: Watch) {
    this.#recorder = recorder
    this.#clock = clock
    this.#watch = watch
  }

  begin(): boolean | Promise<boolean> {
    this.#began = this.#clock()
    return this.#recorder.note(this.#watch)
  }

  end(): void {
    if (this.#began === null) return
    const seconds = Math.max(0, this.#clock() - this.#began)
    void this.#recorder.note({ ...this.#watch, kind: 'watch_ended', last: this.last, seconds })
  }
}

/** The most characters of a query that are recorded. A longer one is cut, and a hash of the whole is recorded too. */
const MAX_ASKED_CHARS = 300
const HASH_DIGITS = 32

const Params = z.record(z.string(), z.string()).catch({})

type AuditContext = Pick<Access, 'run_id' | 'principal' | 'client' | 'operation' | 'asked'>

/** The caller of a request and what it reads, as the access log records them. */
function auditContext(request: FastifyRequest): AuditContext {
  const { caller, ip: client, routeOptions } = request
  const { run_id: given, ...params } = Params.parse(request.params)
  return {
    run_id: RunId.safeParse(given).data ?? null,
    principal: caller?.principal ?? null,
    client,
    operation: routeOptions.schema?.operationId ?? '',
    asked: askedOf(request, params),
  }
}

/** Only what the route reads: anything else in the address may be a secret that is there by mistake. */
function askedOf({ routeOptions, url }: FastifyRequest, params: Record<string, string>): string {
  const asked = new URLSearchParams(params)
  if (routeOptions.schema?.querystring !== undefined && url.includes('?')) {
    for (const [name, value] of new URLSearchParams(url.slice(url.indexOf('?')))) {
      if (name !== 'ticket') asked.append(name, value)
    }
  }
  const text = asked.toString()
  if (text.length <= MAX_ASKED_CHARS) return text
  const hash = sha256(text).slice(0, HASH_DIGITS)
  return `${text.slice(0, MAX_ASKED_CHARS - HASH_DIGITS - 1)}#${hash}`
}
