import { gist } from '../../../src/client/gist.ts'
import { timeOf } from '../../../src/domain/plain-text.ts'
import { type Child, element, facts, json } from './element.ts'
import type { Evidence, HeldRecord } from './read-export.ts'
import { personOf } from './sections.ts'

/** The kinds with which a person says or decides something, and what that is. An agent can also end its run. */
const DEEDS: Readonly<Record<string, string>> = {
  human_check_response: 'Decided whether the run continues',
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
  const made = records.flatMap((held) => {
    const { kind = '' } = held.record ?? {}
    const isOne = kind in DEEDS && (kind !== 'run_end' || held.principal !== null)
    return isOne ? [deed(held, records)] : []
  })
  return made.length > 0 ? made : [element('p', 'After the start, no person decided anything.')]
}

function deed(held: HeldRecord, records: readonly HeldRecord[]): HTMLElement {
  const { seq, record } = held
  if (record === null) return element('article')
  const { kind, payload } = record
  const { answers, shown_sha256, seen } = {
    answers: undefined,
    shown_sha256: undefined,
    seen: undefined,
    ...payload,
  }
  const asked = answers === undefined ? undefined : records[answers]
  const question = asked?.record
  const isCall = question?.kind === 'approval_required'
  const isShown = shown_sha256 === asked?.hash ? ', that of the question' : ''
  return element(
    'article',
    element('h3', `${DEEDS[kind]}: ${gist(kind, payload)}`),
    facts({
      Person: personOf(held),
      When: `${timeOf(record.ts)}, record ${seq}`,
      Question: question && `${gist(question.kind, question.payload)} (record ${answers})`,
      'The call': isCall ? json(callOf(question.payload.call_id, records)) : null,
      'The rule that asked': isCall ? json(question.payload.content) : null,
      'Hash of what was shown': shown_sha256 && `${shown_sha256}${isShown}`,
      'Last record on the screen': seen && `${seen.seq}, with the hash ${seen.hash}`,
    }),
  )
}

const callOf = (id: string, records: readonly HeldRecord[]) =>
  records
    .flatMap(({ record }) =>
      record?.kind === 'assistant_message' ? record.payload.tool_calls : [],
    )
    .findLast(({ call_id }) => call_id === id)
