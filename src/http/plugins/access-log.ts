import { Readable } from 'node:stream'
import type { FastifyReply, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import type { AccessRecorder } from '../../audit/access-log/access-recorder.ts'
import type { GrantedKind } from '../../domain/access.ts'
import { EVENT_STREAM } from '../live/sse.ts'
import { ProblemError } from '../problems/problem.ts'
import { auditContext, NOT_WRITTEN } from './watch-log.ts'

/**
 * What each operation shows of the log, for the access log. A test fails if an operation that shows something is
 * missing.
 */
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
    const granted = recorder.note({ ...auditContext(request), kind })
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

/** The code that serves a watch records it, because it knows how the watch ends. */
const isWatch = (reply: FastifyReply): boolean =>
  String(reply.getHeader('content-type')).startsWith(EVENT_STREAM)
