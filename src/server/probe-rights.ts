import { randomUUID } from 'node:crypto'
import { OWN_STREAM_PREFIX } from '../domain/records.ts'
import { RUN_STREAM_PREFIX } from '../log/run-log.ts'
import type { EventStore } from '../store/event-store.ts'

/** One stream of each kind that a server writes. Neither ever exists. */
const PROBED = [`${RUN_STREAM_PREFIX}${randomUUID()}`, `${OWN_STREAM_PREFIX}right-to-write`]

/**
 * Why the user of the store may not write the log, as a sentence for people; null if the user may, or if the store does
 * not answer now. Each stream is asked for an append after a revision that it cannot have: a store that would allow it
 * answers that the revision is wrong, so nothing is left behind.
 */
export async function missingRight(store: Pick<EventStore, 'append'>): Promise<string | null> {
  const event = { id: randomUUID(), type: 'probe', data: '{}', metadata: '{}' }
  for (const stream of PROBED) {
    const probed = await store.append(stream, [event], {
      expectedRevision: Number.MAX_SAFE_INTEGER,
    })
    if (probed.isErr() && probed.error.type === 'store_failed') {
      const prefix = stream.startsWith(RUN_STREAM_PREFIX) ? RUN_STREAM_PREFIX : OWN_STREAM_PREFIX
      return `The server cannot write streams named ${prefix}… . ${probed.error.message}`
    }
  }
  return null
}
