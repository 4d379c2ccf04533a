import type { FastifyRequest } from 'fastify'
import * as z from 'zod'
import { RunId } from '../../api/fields.ts'
import type { AccessRecorder } from '../../audit/access-log/access-recorder.ts'
import type { Access } from '../../audit/access-log/access-windows.ts'
import { sha256 } from '../../lib/sha256.ts'

type Recorder = Pick<AccessRecorder, 'note'>

/** How a server that must record every access refuses one that it cannot record. */
export const NOT_WRITTEN = {
  code: 'store_unavailable',
  detail:
    'This server answers only if it can record the access in its access log, and the event store does not accept the entry. Try again in a moment.',
} as const

/** One watch of records, for the access log. */
export type Watched = {
  /** Of the last record that was sent: its seq or, for all runs, its cursor. */
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

/** The most characters of a query that are recorded; of a longer one, the beginning and a hash of the whole. */
const MAX_ASKED_CHARS = 300
const HASH_DIGITS = 32

const Params = z.record(z.string(), z.string()).catch({})

type AuditContext = Pick<Access, 'run_id' | 'principal' | 'client' | 'operation' | 'asked'>

/** Who reads what, as the access log records it. */
export function auditContext(request: FastifyRequest): AuditContext {
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
