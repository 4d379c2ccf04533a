import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { RunProof } from '../../api/audit.ts'
import { type ExportDeps, type ExportError, exportParts, Unfinished } from './export-parts.ts'
import { packed } from './tar.ts'

/** How often a run is exported again while something is redacted from it, and the pause between, milliseconds. */
const [ATTEMPTS, PAUSE_MS] = [5, 100] as const
/** Bytes of an archive that must exist before any of it is handed out. */
const HELD_BYTES = 256 * 1024

/**
 * Exports the records that a proof covers as a .tar.gz: in one pass, at constant memory. It exports what is stored,
 * as it is; a verifier finds whether that holds. If something is redacted from the run meanwhile, the export starts
 * again, unless some of it was handed out: then it breaks off.
 */
export function exportRun(deps: ExportDeps, proof: RunProof): ResultAsync<Readable, ExportError> {
  const make = async (): Promise<Result<Readable, ExportError>> => {
    for (let attempts = 1; ; attempts += 1) {
      let isHandedOut = false
      const mayRepeat = () => !isHandedOut && attempts < ATTEMPTS
      const begun = await withBeginning(packed(exportParts(deps, proof, mayRepeat), deps.now))
      isHandedOut = true
      const again = begun.isErr() && begun.error.type === 'redacted_meanwhile'
      if (!again || attempts === ATTEMPTS) return begun
      await sleep(PAUSE_MS)
    }
  }
  return new ResultAsync(make())
}

/** The archive, as soon as its beginning exists. */
async function withBeginning(archive: Readable): Promise<Result<Readable, ExportError>> {
  const chunks: AsyncIterator<Buffer> = archive.iterator()
  const held: Buffer[] = []
  try {
    for (let bytes = 0; bytes < HELD_BYTES; ) {
      const next = await chunks.next()
      if (next.done === true) break
      held.push(next.value)
      bytes += next.value.length
    }
  } catch (cause) {
    if (cause instanceof Unfinished) return err(cause.why)
    throw cause
  }
  const whole = Readable.from(continued(held, chunks), { objectMode: false })
  // A reader may leave before the end.
  return ok(whole.once('close', () => archive.destroy()))
}

async function* continued(
  held: readonly Buffer[],
  chunks: AsyncIterator<Buffer>,
): AsyncGenerator<Buffer> {
  yield* held
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    yield next.value
  }
}
