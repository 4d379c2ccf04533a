import type { Result } from 'neverthrow'
import type { z } from 'zod'
import { formIn } from '../../api/event-query.ts'
import { RunId } from '../../api/run-id.ts'
import { DOCUMENTED_KINDS } from '../../domain/records.ts'
import type { Watched } from '../plugins/watch-log.ts'
import { refusalFrame } from './entry.ts'
import type { Live } from './live.ts'
import { observe } from './observe.ts'
import type { Observation } from './sockets.ts'
import type { WatchQuery } from './watch-query.ts'

/** One run over a WebSocket, as its address asks for it. */
export function observeRun(
  givenId: string,
  query: Result<z.output<typeof WatchQuery>, string>,
  live: Live,
  watched: Watched,
): Observation {
  return {
    send: async (outlet, signal) => {
      const runId = RunId.safeParse(givenId)
      if (!runId.success) {
        const message = `"${givenId}" is not a run id. GET /api/runs lists the runs there are.`
        return { type: 'unknown_run', cursor: -1, message }
      }
      if (query.isErr()) return { type: 'bad_request', cursor: -1, message: query.error }
      const {
        after = -1,
        kinds = new Set(DOCUMENTED_KINDS),
        caught_up: caughtUp = false,
      } = query.value
      const watch = { after, kinds, caughtUp, form: formIn(query.value) }
      return observe({ runId: runId.data, watch, outlet, signal, watched }, live.hub, live)
    },
    refusal: ({ cursor, message }) => refusalFrame(givenId, cursor, live.clock(), message),
  }
}
