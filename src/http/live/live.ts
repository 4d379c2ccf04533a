import type { IncomingMessage, ServerResponse } from 'node:http'
import type { PassThrough } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { LiveParts } from '../../live/live-parts.ts'
import { processMask } from '../../masking/process-mask.ts'
import type { AppDeps } from '../deps.ts'
import { createWatchLog } from '../plugins/access-log.ts'
import { chooseProtocol } from '../plugins/credentials.ts'
import type { LiveDeps, LiveLimits } from './deps.ts'
import { Sockets } from './sockets.ts'
import { allRunsTopic, createRunTopics, type Topics } from './topics.ts'

/** Everything in this process that delivers records while they are created. */
export type Live = LiveDeps &
  Topics & {
    readonly sockets: Sockets
    /** The open answers of server-sent events. */
    readonly eventStreams: Set<PassThrough>
  }

/** Clients send nothing that the server needs, so it accepts nothing large. */
const MAX_MESSAGE_BYTES = 16 * 1024

/**
 * Adds live delivery, over WebSockets and otherwise. It comes before every hook that may refuse a request, so that it
 * closes the connection of a refused upgrade, which HTTP has released by then.
 */
export async function addLive(
  app: FastifyInstance,
  deps: AppDeps,
  limits: LiveLimits,
): Promise<Live> {
  const { store, readModel, clock, checkpoint, redactions } = deps
  const parts = deps.liveParts ?? new LiveParts(processMask)
  const live: LiveDeps = {
    store,
    readModel,
    clock,
    checkpoint,
    parts,
    log: app.log,
    asOfNow: redactions.asOfNow,
    watchLog: createWatchLog(deps.accessLog ?? null, clock),
    removalOf: deps.retention.removalOf,
    limits,
  }
  const runTopics = createRunTopics(live)
  const allRuns = allRunsTopic(live)
  const sockets = new Sockets(live)
  const eventStreams = new Set<PassThrough>()
  redactions.onRedacted(async (runId) => {
    runTopics.forget(runId)
    allRuns.forget()
    parts.forget(runId)
    // Pages that were on their way to an observer in this turn are sent by then.
    await nextTurn()
    await sockets.endOutdated(runId)
  })
  await app.register(websocket, {
    options: { maxPayload: MAX_MESSAGE_BYTES, handleProtocols: chooseProtocol },
    preClose: async () => {
      app.websocketServer.close()
      for (const stream of eventStreams) stream.end()
      await sockets.close(deps.whyClosing?.() ?? 'the server is closing')
    },
  })
  releaseResponses(app)
  return { ...live, runTopics, allRuns, sockets, eventStreams }
}

/** When a WebSocket opens, its connection releases the HTTP response, and so the request. */
function releaseResponses(app: FastifyInstance): void {
  const responses = new WeakMap<IncomingMessage, ServerResponse>()
  app.addHook('onRequest', (request, reply, done) => {
    if (request.ws) responses.set(request.raw, reply.raw)
    done()
  })
  app.websocketServer.on('connection', (_socket, request) => {
    responses.get(request)?.detachSocket(request.socket)
  })
}
