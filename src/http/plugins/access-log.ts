import { Readable } from 'node:stream'
import type { FastifyReply, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import type { AccessRecorder } from '../../audit/access-log/access-recorder.ts'
import type { GrantedKind } from '../../domain/access.ts'
import { EVENT_STREAM } from '../live/sse.ts'
import { Refusal } from '../problems/problem.ts'
import { SHOWN } from './access-kinds.ts'
import { NOT_WRITTEN } from './watch-log.ts'
import { whoAndWhat } from './who-and-what.ts'

type Recorder = Pick<AccessRecorder, 'note'>

/** Notes every answer under /api that shows something of the log, and every refusal. */
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
      void recorder.note({ ...whoAndWhat(request), asked: '', kind: 'access_refused', status })
      return done(null, payload)
    }
    if (kind === undefined || status >= 400 || isWatch(reply)) return done(null, payload)
    const granted = recorder.note({ ...whoAndWhat(request), kind })
    if (granted === true) return done(null, payload)
    void Promise.resolve(granted).then((isWritten) => {
      if (isWritten) return done(null, payload)
      if (payload instanceof Readable) payload.destroy()
      for (const name of ['etag', 'cache-control', 'link', 'content-disposition']) {
        reply.removeHeader(name)
      }
      done(new Refusal(NOT_WRITTEN))
    })
  }
}

/** Watches are noted by what serves them, which knows how they end. */
const isWatch = (reply: FastifyReply): boolean =>
  String(reply.getHeader('content-type')).startsWith(EVENT_STREAM)
