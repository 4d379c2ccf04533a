import { describe, expect, test } from 'vitest'
import { problemDocument } from '../../../src/api/problems.ts'
import { commandProblem } from '../../../src/http/problems/problem-of.ts'
import type { CommandError } from '../../../src/log/handle-command.ts'

describe('every error of a command', () => {
  const statuses: { readonly [E in CommandError as E['type']]: [E, number] } = {
    run_not_found: [{ type: 'run_not_found' }, 404],
    stream_not_found: [{ type: 'stream_not_found', stream: 'run-1' }, 404],
    run_exists: [{ type: 'run_exists' }, 409],
    already_created: [{ type: 'already_created' }, 409],
    already_sent: [{ type: 'already_sent', seq: 4 }, 409],
    key_reused: [{ type: 'key_reused' }, 409],
    run_ended: [{ type: 'run_ended', status: 'failed' }, 409],
    other_call: [{ type: 'other_call', callId: 'c0' }, 409],
    rule_stays: [{ type: 'rule_stays' }, 409],
    starter_may_not_answer: [{ type: 'starter_may_not_answer' }, 403],
    not_awaiting_human: [{ type: 'not_awaiting_human' }, 409],
    stale_decision: [{ type: 'stale_decision', open: 9, answered: 4 }, 409],
    seen_otherwise: [{ type: 'seen_otherwise', seq: 4 }, 409],
    claim_lost: [{ type: 'claim_lost', claimant: null }, 409],
    out_of_step: [{ type: 'out_of_step', command: 'proceed', phase: 'acting' }, 409],
    append_too_large: [{ type: 'append_too_large', bytes: 2, limit: 1 }, 413],
    damaged_record: [{ type: 'damaged_record', stream: 'run-1', seq: 3, message: 'x' }, 500],
    wrong_expected_revision: [
      { type: 'wrong_expected_revision', expected: 1, actual: 'no_stream' },
      503,
    ],
    store_unavailable: [{ type: 'store_unavailable', message: 'x' }, 503],
    store_failed: [{ type: 'store_failed', message: 'x' }, 503],
    outcome_unknown: [{ type: 'outcome_unknown', message: 'x' }, 503],
  }

  test.each(Object.entries(statuses))('%s', (_, [error, status]) => {
    const document = problemDocument(commandProblem(error), '/api/runs')
    expect(document.status).toBe(status)
    expect(document.detail).toMatch(/\.$/)
  })
})
