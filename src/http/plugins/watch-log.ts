import type { FastifyRequest } from 'fastify'
import type { AccessRecorder } from '../../audit/access-log/access-recorder.ts'
import { whoAndWhat } from './who-and-what.ts'

type Recorder = Pick<AccessRecorder, 'note'>

/** How a server that must write down every access refuses what it cannot write down. */
export const NOT_WRITTEN = {
  code: 'store_unavailable',
  detail:
    'This server shows nothing that it cannot note in its access log, and the event store does not take it. Try again in a moment.',
} as const

/** Records that are sent to somebody for as long as they watch. */
export type Watched = {
  /** Of the last record that was sent: its seq, in the feed its cursor. */
  last: number | string | null
  /** To be called before the first is sent. @returns whether it may be */
  begin(): boolean | Promise<boolean>
  end(): void
}

/** Takes note of watches; null where there is no access log. */
export class WatchLog {
  readonly #recorder: Recorder | null
  /** Seconds since the epoch. */
  readonly #clock: () => number

  constructor(recorder: Recorder | null, clock: () => number) {
    this.#recorder = recorder
    this.#clock = clock
  }

  watch(request: FastifyRequest, kind: 'run_watched' | 'feed_watched'): Watched {
    const recorder = this.#recorder
    if (recorder === null) return { last: null, begin: () => true, end: () => {} }
    const access = whoAndWhat(request)
    let began: number | null = null
    const watched: Watched = {
      last: null,
      begin: () => {
        began = this.#clock()
        return recorder.note({ ...access, kind })
      },
      end: () => {
        if (began === null) return
        const seconds = Math.max(0, this.#clock() - began)
        void recorder.note({ ...access, kind: 'watch_ended', last: watched.last, seconds })
      },
    }
    return watched
  }
}
