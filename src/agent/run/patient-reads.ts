import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { Backoff } from '../../lib/backoff.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { Effects } from './effects.ts'

type Reads = Pick<Effects, 'readArtifact' | 'filesOf'>

/** The same reads, which wait while the place of the artifacts is away, until the work on the run stops. */
export function patientReads(
  { readArtifact, filesOf, modelRetryMs, log }: Reads & Pick<Effects, 'modelRetryMs' | 'log'>,
  signal: AbortSignal,
): Reads {
  const outlast = async <T>(read: () => Promise<T>): Promise<T> => {
    const pauses = new Backoff(modelRetryMs)
    for (;;) {
      try {
        return await read()
      } catch (cause) {
        if (pauses.failures === 0) log.warn({ why: messageOf(cause) }, 'waiting for artifacts')
        if (!(await pauses.wait(signal))) throw cause
      }
    }
  }
  return {
    readArtifact: (sha256) =>
      outlast(async () => {
        const found = await readArtifact(sha256)
        // It may go away in the middle, too.
        return found && { bytes: found.bytes, stream: Readable.from([await buffer(found.stream)]) }
      }),
    filesOf: (...asked) => outlast(() => filesOf(...asked)),
  }
}
