import { gist } from '../../../src/cli/terminal/event-line.ts'
import { timeOf } from '../../../src/cli/terminal/plain-text.ts'
import type { PayloadOf } from '../../../src/domain/records.ts'
import { type Child, element, facts, json } from './element.ts'
import type { Evidence, HeldRecord } from './read-export.ts'

/** Kinds with which a person decides, or which ask a person to. */
const DECISIONS = new Set([
  ...['human_check_response', 'approval_response', 'run_resumed', 'run_config_changed'],
  ...['changes_applied', 'files_rolled_back', 'copy_discarded', 'user_message'],
])

const KNOWN_AS: Readonly<Record<string, string>> = {
  human_check_response: 'Decided about going on with the run',
  approval_response: 'Decided about a call',
  run_resumed: 'Resumed the run',
  run_config_changed: 'Changed the run',
  changes_applied: 'Applied the changes',
  files_rolled_back: 'Rolled files back',
  copy_discarded: 'Removed the copy',
  user_message: 'Said to the agent',
  run_end: 'Ended the run',
}

/** What each person did, with what that person was shown. */
export function people({ records }: Evidence): Child[] {
  const calls = new Map<string, PayloadOf<'assistant_message'>['tool_calls'][number]>()
  const made: Child[] = []
  for (const held of records) {
    const { record, principal } = held
    if (record?.kind === 'assistant_message')
      for (const call of record.payload.tool_calls) calls.set(call.call_id, call)
    const isDecision = DECISIONS.has(record?.kind ?? '')
    if (record === null || !(isDecision || (record.kind === 'run_end' && principal))) continue
    made.push(decision(held, records, calls))
  }
  return made.length > 0
    ? made
    : [element('p', 'No person decided anything in this run after its start.')]
}

function decision(
  { seq, record, principal }: HeldRecord,
  records: readonly HeldRecord[],
  calls: ReadonlyMap<string, unknown>,
): HTMLElement {
  if (record === null) return element('p')
  const { payload } = record
  const asked = 'answers' in payload ? records[payload.answers] : undefined
  const question = asked?.record ?? null
  const call = question?.kind === 'approval_required' ? calls.get(question.payload.call_id) : null
  const seen = 'seen' in payload ? payload.seen : undefined
  const shown = 'shown_sha256' in payload ? payload.shown_sha256 : undefined
  return element(
    'article',
    element('h3', `${KNOWN_AS[record.kind]}: ${gist(record.kind, payload)}`),
    facts({
      Person: principal ?? 'not known: the server had no tokens',
      When: `${timeOf(record.ts)}, record ${seq}`,
      Question:
        asked && question && `${gist(question.kind, question.payload)} (record ${asked.seq})`,
      'Why it was asked':
        question?.kind === 'approval_required' ? json(question.payload.content) : null,
      'The call as it was shown': call ? json(call) : null,
      'Hash of what was shown':
        shown && `${shown}${shown === asked?.hash ? ', that of the question' : ''}`,
      'Last record on the screen': seen && `${seen.seq}, with the hash ${seen.hash}`,
    }),
  )
}
