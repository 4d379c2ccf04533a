import { messageOf } from '../../lib/message-of.ts'
import type { LoggedRecord } from '../../log/codec.ts'
import type { LoadedRun } from '../../log/run-log.ts'
import { lineBatches } from '../bundle/lines.ts'
import { type RecordLine, readLine } from '../bundle/record-line.ts'
import { artifactOf, type BadRecord, verifyRecord } from './verify-run.ts'

/** The records of an export, as far as they hold. */
export type VerifiedRecords = {
  /** The run up to the first bad record. */
  readonly run: LoadedRun | null
  readonly bad: BadRecord | null
  /** The artifacts that records name, each with the first record that does. */
  readonly artifacts: ReadonlyMap<string, number>
}

export type SeeRecord = (line: RecordLine, logged: LoggedRecord) => void | Promise<void>

/** Verifies `records.ndjson` up to the first bad record, and reads it to its end. */
export async function verifyRecords(
  runId: string,
  body: AsyncIterable<Uint8Array>,
  see: SeeRecord = () => {},
): Promise<VerifiedRecords> {
  const artifacts = new Map<string, number>()
  let run: LoadedRun | null = null
  let bad: BadRecord | null = null
  const verified = (): VerifiedRecords => ({ run, bad, artifacts })
  try {
    for await (const lines of lineBatches(body)) {
      for (const { text, ended } of lines) {
        if (bad !== null) break
        const seq: number = run === null ? 0 : run.state.seq + 1
        const line = ended ? readLine(text) : 'the line is cut off or is no UTF-8'
        if (typeof line === 'string') {
          bad = { problem: 'changed', seq, message: line }
          break
        }
        const checked = verifyRecord(runId, run, line)
        if (checked.isErr()) {
          bad = checked.error
          break
        }
        run = checked.value.run
        const artifact = artifactOf(checked.value.logged)
        if (artifact !== null && !artifacts.has(artifact)) artifacts.set(artifact, seq)
        const seen = see(line, checked.value.logged)
        if (seen !== undefined) await seen
      }
    }
  } catch (cause) {
    throw new CutOff(verified(), cause)
  }
  return verified()
}

/** The archive could not be read on: what was verified up to there. */
export class CutOff extends Error {
  override readonly name = 'CutOff'
  readonly verified: VerifiedRecords

  constructor(verified: VerifiedRecords, cause: unknown) {
    super(messageOf(cause), { cause })
    this.verified = verified
  }
}
