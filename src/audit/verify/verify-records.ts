import type { LoggedRecord } from '../../log/codec.ts'
import {
  type LineFormat,
  lineBatches,
  type RecordLine,
  readLine,
  type TextLine,
} from '../bundle/record-lines.ts'
import type { ContentsPool } from './contents-pool.ts'
import { artifactOf, type BadRecord, type VerifiedRun, verifyRecord } from './verify-run.ts'

/** The records of an export up to the first bad one. */
export type VerifiedRecords = {
  readonly run: VerifiedRun | null
  readonly bad: BadRecord | null
  /** The artifacts that records name, each with the first record that does. */
  readonly artifacts: ReadonlyMap<string, number>
  /** How many calls and checks were not isolated as the first record says. */
  readonly isolatedOtherwise: number
}

/** @param run the run up to this record */
export type SeeRecord = (
  line: RecordLine,
  logged: LoggedRecord,
  run: VerifiedRun,
) => void | Promise<void>

const isIsolatedOtherwise = ({ record: { kind, payload } }: LoggedRecord): boolean =>
  (kind === 'tool_result' || kind === 'goal_check') && payload.isolation !== undefined

/** Verifies the records of a run, line by line. */
export class RecordsCheck implements VerifiedRecords {
  readonly #runId: string
  readonly #see: SeeRecord
  readonly #pool: ContentsPool
  run: VerifiedRun | null = null
  bad: BadRecord | null = null
  readonly artifacts = new Map<string, number>()
  isolatedOtherwise = 0

  /** @param see gets each record that holds, in order */
  constructor(runId: string, pool: ContentsPool, see: SeeRecord = () => {}) {
    this.#runId = runId
    this.#pool = pool
    this.#see = see
  }

  /** The seq of the next record, if all before it hold. */
  get next(): number {
    return this.run === null ? 0 : this.run.state.seq + 1
  }

  /** Continues with the lines of a part, and reads it to its end. */
  async read(body: AsyncIterable<Uint8Array>, format: LineFormat): Promise<void> {
    const batches = this.#pool.check(gathered(lineBatches(body)), (lines) => {
      return { lines: lines.map(({ text }) => text), format }
    })
    for await (const { batch, sound } of batches) {
      for (const [index, line] of batch.entries()) {
        if (this.bad !== null) break
        const seen = this.#take(line, format, sound?.[index] === 1)
        if (seen !== undefined) await seen
      }
    }
  }

  #take(text: TextLine, format: LineFormat, isSound: boolean): void | Promise<void> {
    const seq = this.next
    const line = readLine(text, format, isSound)
    if (typeof line === 'string') {
      this.bad = { problem: 'changed', seq, message: line }
      return
    }
    const verified = verifyRecord(this.#runId, this.run, line, isSound)
    if (verified.isErr()) {
      this.bad = verified.error
      return
    }
    const { run, logged } = verified.value
    this.run = run
    const artifact = artifactOf(logged)
    if (artifact !== null && !this.artifacts.has(artifact)) this.artifacts.set(artifact, seq)
    if (isIsolatedOtherwise(logged)) this.isolatedOtherwise += 1
    return this.#see(line, logged, run)
  }
}

/** Lines of about this size are checked together: the parts of an archive arrive in smaller pieces. In characters. */
const BATCH_CHARS = 128 * 1024

async function* gathered(
  batches: AsyncIterable<readonly TextLine[]>,
): AsyncGenerator<readonly TextLine[]> {
  let lines: TextLine[] = []
  let chars = 0
  for await (const batch of batches) {
    lines = lines.concat(batch)
    chars += batch.reduce((sum, { text }) => sum + text.length, 0)
    if (chars < BATCH_CHARS) continue
    yield lines
    lines = []
    chars = 0
  }
  if (lines.length > 0) yield lines
}
