import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import * as z from 'zod'
import { RunId } from '../../api/fields.ts'
import type { GrantedKind } from '../../domain/access.ts'
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
 * Ends the answers that began before a text of their run was redacted, or the artifact that they send, because they may hold it. First, their clients have
 * a moment to read them. An event stream only has to be read up to there.
 */
export const endOutdatedAnswers = fp<Deps>(
  async (app, { redactions, redactedMs }) => {
    if (redactions === undefined) return
    const answers = new AnswersUnderWay()
    app.addHook('onRoute', (route) => {
      const kind = SHOWN[route.schema?.operationId ?? '']
      if (kind === 'run_exported') {
        // Until then, an export notices by itself what is redacted, and begins again.
        route.onSend = [
          ...[route.onSend ?? []].flat(),
          (_request, reply, payload, done) => {
            answers.note(reply)
            done(null, payload)
          },
        ]
      } else if (TEXTS.has(kind)) {
        route.onRequest = [
          ...[route.onRequest ?? []].flat(),
          (_request, reply, done) => {
            answers.note(reply)
            done()
          },
        ]
      }
    })
    redactions.onRedacted(async (runId, artifacts) => {
      const end = performance.now() + redactedMs
      let outdated = answers.of(runId, artifacts)
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

/** At least so many answers are noted before those that have ended are dropped. */
const SWEEP_AT = 64

/** The answers that have not ended. A listener for each would cost more than the looks now and then. */
class AnswersUnderWay {
  #noted: FastifyReply[] = []
  #sweepAt = SWEEP_AT

  note(reply: FastifyReply): void {
    if (this.#noted.push(reply) < this.#sweepAt) return
    this.#noted = this.#noted.filter(({ raw }) => !raw.closed)
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#noted.length)
  }

  /** Those that show the run, all runs, or one of the artifacts. */
  of(runId: string, artifacts: ReadonlySet<string>): FastifyReply[] {
    return this.#noted.filter(({ raw, request }) => {
      const { run_id, sha256 } = Shown.parse(request.params)
      return !raw.closed && (run_id === null || run_id === runId || artifacts.has(sha256))
    })
  }
}

const Shown = z.object({
  run_id: RunId.nullable().catch(null).default(null),
  sha256: z.string().default(''),
})

/** What a stream sends after that was read from the log again. */
const isRead = (reply: FastifyReply): boolean =>
  reply.raw.closed || (isWatch(reply) && reply.sent && reply.raw.writableLength === 0)
