import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import { VERIFYING } from '../../api/audit.ts'
import { RunId } from '../../api/fields.ts'
import type { AccessRecorder } from '../../audit/access-recorder.ts'
import type { Access } from '../../audit/access-windows.ts'
import type { GrantedKind } from '../../domain/access.ts'
import { sha256 } from '../../lib/sha256.ts'
import { EVENT_STREAM } from '../replies/format.ts'

/** What each operation shows of the log, for the access log. A test fails if one that shows something is missing. */
export const SHOWN: Readonly<Record<string, GrantedKind>> = {
  listRuns: 'runs_listed',
  search: 'searched',
  getRun: 'run_read',
  diffRun: 'run_read',
  readConversation: 'run_read',
  readArtifact: 'run_read',
  runChanges: 'run_read',
  readFile: 'run_read',
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
  showLog: 'checkpoints_read',
  readLogCheckpoint: 'checkpoints_read',
  readLogTile: 'checkpoints_read',
  listAccesses: 'ledger_read',
  proveAccesses: 'ledger_read',
  listLedgers: 'ledger_read',
  readLedger: 'ledger_read',
  listTokens: 'ledger_read',
  listWebhooks: 'ledger_read',
  getWebhook: 'ledger_read',
  listDeliveries: 'ledger_read',
}

type Recorder = Pick<AccessRecorder, 'note'>

/** Records every answer under /api that shows something of the log, and every refusal. */
export function logAccesses(app: FastifyInstance, recorder: Recorder): void {
  app.addHook('onSend', (request, reply, _payload, done) => {
    const { url = '', schema } = request.routeOptions
    if (schema?.operationId !== undefined && url.startsWith('/api/')) {
      noteAnswer(recorder, request, reply)
    }
    done()
  })
}

/** What the operation of a request shows of the log; undefined if it shows nothing. */
export const shownBy = ({ routeOptions }: FastifyRequest): GrantedKind | undefined =>
  SHOWN[routeOptions.schema?.operationId ?? '']

function noteAnswer(recorder: Recorder, request: FastifyRequest, reply: FastifyReply): void {
  const { statusCode: status } = reply
  if (status === 401 || status === 403) {
    recorder.note({ ...auditContext(request), asked: '', kind: 'access_refused', status })
    return
  }
  const kind = shownBy(request)
  if (kind === undefined || status >= 400 || isWatch(reply)) return
  const shown = isVerifying(request) ? 'run_verified' : kind
  recorder.note({ ...auditContext(request), kind: shown })
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

/** One watch of records, for the access log. */
export type Watched = {
  /** The seq of the last record that was sent or, for all runs, its cursor. */
  last: number | string | null
  /** Call it before the first record is sent. */
  begin(): void
  end(): void
}

/** Records watches in the access log. */
export type WatchLog = (request: FastifyRequest, kind: 'run_watched' | 'feed_watched') => Watched

/** @param recorder null while the access log is off. @param clock seconds since the epoch */
export const createWatchLog =
  (recorder: Recorder | null, clock: () => number): WatchLog =>
  (request, kind) => {
    const context = auditContext(request)
    let began: number | null = null
    return {
      last: null,
      begin() {
        began = clock()
        recorder?.note({ ...context, kind })
      },
      end() {
        if (began === null) return
        const seconds = Math.max(0, clock() - began)
        recorder?.note({ ...context, kind: 'watch_ended', last: this.last, seconds })
      },
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
  const run = given ?? Reflect.get(Object(request.query), 'run_id')
  return {
    run_id: RunId.safeParse(run).data ?? null,
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
      if (name !== 'ticket') asked.append(name, name === 'q' ? hashed(value) : value)
    }
  }
  const text = asked.toString()
  if (text.length <= MAX_ASKED_CHARS) return text
  return `${text.slice(0, MAX_ASKED_CHARS - HASH_DIGITS - 1)}#${hashed(text)}`
}

/** What is recorded instead of a text, such as what somebody searches for. */
const hashed = (text: string): string => sha256(text).slice(0, HASH_DIGITS)
