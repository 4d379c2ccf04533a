import {
  type BadRecord,
  type StoredRecord,
  type VerifiedRun,
  verifyRecord,
} from '../../../src/audit/verify/verify-run.ts'
import { checkProof } from './check-proof.ts'
import type { Answer, Question } from './protocol.ts'

/** Verifies one run in a worker, so that the page is not blocked. */
let run: VerifiedRun | null = null
let bad: BadRecord | null = null

function take(runId: string, records: readonly StoredRecord[]): void {
  for (const record of records) {
    if (bad !== null) return
    const verified = verifyRecord(runId, run, record)
    if (verified.isErr()) bad = verified.error
    else run = verified.value.run
  }
}

function answer(question: Question): Answer {
  switch (question.type) {
    case 'records':
      take(question.runId, question.records)
      return { type: 'progress', verified: run === null ? 0 : run.seq + 1, bad }
    case 'proof':
      return { type: 'proof', verdict: checkProof(question.proof, question.keys) }
  }
}

self.onmessage = ({ data }: MessageEvent<Question>) => self.postMessage(answer(data))
