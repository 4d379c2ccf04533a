import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import websocket from '@fastify/websocket'
import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { LiveParts } from '../../live/live-parts.ts'
import { processMask } from '../../log/masking.ts'
import type { Checkpoint } from '../../projections/batch.ts'
import type { AppDeps } from '../deps.ts'
import { WatchLog } from '../plugins/access-log.ts'
import { chooseProtocol } from '../plugins/credentials.ts'
import { isOfSockets } from '../plugins/security.ts'
import { RunFacts } from './all-runs-selection.ts'
import { AllRunsTopic } from './all-runs-topic.ts'
import { LIVE_LIMITS } from './limits.ts'
import { ResponseStreams } from './response-streams.ts'
import { RunTopics } from './run-topics.ts'
import type { TopicDeps } from './shared-topic.ts'
import { Sockets } from './sockets.ts'

type LiveDeps = TopicDeps & {
  /** Seconds since the epoch. */
  readonly clock: () => number
  /** The last record that this server has read from the log. */
  readonly checkpoint: () => Checkpoint | null
  readonly watchLog: WatchLog
  /** What runs of this process write before it is recorded. */
  readonly parts: LiveParts
}

/** Everything in this process that delivers records while they are created. */
export type Live = LiveDeps & {
  readonly runTopics: RunTopics
  readonly allRuns: AllRunsTopic
  readonly facts: RunFacts
  readonly sockets: Sockets
  readonly streams: ResponseStreams
}

export function createLive(deps: LiveDeps): Live {
  return {
    ...deps,
    runTopics: new RunTopics(deps),
    allRuns: new AllRunsTopic(deps),
    facts: new RunFacts(deps),
    sockets: new Sockets(deps.limits, deps.log),
    streams: new ResponseStreams(deps.limits),
  }
}

/** Clients send nothing that the server needs, so it accepts nothing large. */
const MAX_MESSAGE_BYTES = 16 * 1024

declare module 'fastify' {
  interface FastifyInstance {
    /** Live delivery of records. */
    readonly live: Live
  }
}

/**
 * Adds live delivery, over WebSockets and otherwise. It comes before every plugin that may refuse a request, so that it
 * closes the connection of a refused upgrade, which HTTP has released by then.
 */
export const livePlugin = fp<AppDeps>(
  async (app, deps) => {
    const { store, readModel, clock, checkpoint } = deps
    const limits = { ...LIVE_LIMITS, ...deps.live }
    const watchLog = new WatchLog(deps.accessLog ?? null, clock)
    const parts = deps.liveParts ?? new LiveParts(processMask)
    const asOfNow = deps.redactions === undefined ? {} : { asOfNow: deps.redactions.asOfNow }
    const live = createLive({
      ...{ store, readModel, clock, checkpoint, watchLog, parts, limits, log: app.log },
      ...asOfNow,
    })
    deps.redactions?.onRedacted(async (runId) => {
      live.runTopics.forget(runId)
      live.allRuns.forget()
      parts.forget(runId)
      // Pages that were on their way to an observer in this turn are sent by then.
      await nextTurn()
      await live.sockets.endOutdated(runId)
    })
    await app.register(websocket, {
      options: { maxPayload: MAX_MESSAGE_BYTES, handleProtocols: chooseProtocol },
      preClose: async () => {
        app.websocketServer.close()
        const why = deps.whyClosing?.() ?? 'the server is closing'
        await Promise.all([live.sockets.close(why), live.streams.close()])
      },
    })
    releaseResponses(app)
    app.decorate('live', live)
  },
  { name: 'live', dependencies: ['connection-limits'] },
)

/** When a WebSocket opens, its connection releases the HTTP response, and so the request. */
function releaseResponses(app: FastifyInstance): void {
  const responses = new WeakMap<IncomingMessage, ServerResponse>()
  const keep: onRequestHookHandler = (request, reply, done) => {
    if (request.ws) responses.set(request.raw, reply.raw)
    done()
  }
  app.addHook('onRoute', (route) => {
    if (isOfSockets(route.url)) route.onRequest = [...[route.onRequest ?? []].flat(), keep]
  })
  app.websocketServer.on('connection', (_socket, request) => {
    responses.get(request)?.detachSocket(request.socket)
  })
}
