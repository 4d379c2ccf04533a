import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import * as z from 'zod'
import { RunId } from '../../api/fields.ts'
import type { GrantedKind } from '../../domain/access.ts'
import { whenClosed } from '../../lib/when-closed.ts'
import type { AppDeps } from '../deps.ts'
import type { LiveLimits } from '../live/limits.ts'
import { isWatch, SHOWN } from './access-log.ts'

/** The accesses that show texts of runs. */
const TEXTS: ReadonlySet<GrantedKind | undefined> = new Set<GrantedKind>([
  'runs_listed',
  'run_read',
  'feed_read',
])

/** How often the server looks whether a client has read its answer, milliseconds. */
const LOOK_MS = 20

type Deps = Pick<LiveLimits, 'redactedMs'> & { readonly redactions: AppDeps['redactions'] }

/**
 * Ends the answers that began before a text of their run was redacted, because they may hold it. First, their clients have
 * a moment to read them. An event stream only has to be read up to there.
 */
export const endOutdatedAnswers = fp<Deps>(
  async (app, { redactions, redactedMs }) => {
    if (redactions === undefined) return
    /** The run that each shows; null for all runs. */
    const underWay = new Map<FastifyReply, string | null>()
    const note = (request: FastifyRequest, reply: FastifyReply): void => {
      const { raw } = reply
      underWay.set(reply, runOf(request))
      // A stream has as many listeners as Node accepts without a warning.
      raw.setMaxListeners(raw.getMaxListeners() + 1)
      whenClosed(raw, () => underWay.delete(reply))
    }
    app.addHook('onRoute', (route) => {
      const kind = SHOWN[route.schema?.operationId ?? '']
      if (kind === 'run_exported') {
        // Until then, an export notices by itself what is redacted, and begins again.
        route.onSend = [
          ...[route.onSend ?? []].flat(),
          (request, reply, payload, done) => {
            note(request, reply)
            done(null, payload)
          },
        ]
      } else if (TEXTS.has(kind)) {
        route.onRequest = [
          ...[route.onRequest ?? []].flat(),
          (request, reply, done) => {
            note(request, reply)
            done()
          },
        ]
      }
    })
    redactions.onRedacted(async (runId) => {
      const end = performance.now() + redactedMs
      let outdated = [...underWay].flatMap(([reply, of]) =>
        (of ?? runId) === runId ? [reply] : [],
      )
      for (;;) {
        await nextTurn()
        outdated = outdated.filter((reply) => !isRead(reply))
        if (outdated.length === 0 || performance.now() >= end) break
        await sleep(LOOK_MS)
      }
      for (const { raw } of outdated) raw.destroy()
    })
  },
  { name: 'outdated-answers' },
)

const OfRun = z.object({ run_id: RunId.nullable().catch(null).default(null) })
const runOf = ({ params }: FastifyRequest): string | null => OfRun.parse(params).run_id

/** What a stream sends after that was read from the log again. */
const isRead = (reply: FastifyReply): boolean =>
  reply.raw.closed || (isWatch(reply) && reply.sent && reply.raw.writableLength === 0)
