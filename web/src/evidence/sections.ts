import { isolationFacts } from '../../../src/api/about-server.ts'
import { LogProof } from '../../../src/api/audit.ts'
import { ARTIFACTS, LOG_PROOF } from '../../../src/audit/bundle/bundle-format.ts'
import { redactionLine } from '../../../src/audit/verify/report-lines.ts'
import { gist } from '../../../src/client/gist.ts'
import { timeOf } from '../../../src/domain/plain-text.ts'
import type { Kind, RecordOf, RunRecord } from '../../../src/domain/records.ts'
import { jsonOr } from '../../../src/lib/json.ts'
import { readNote, TIME_BYTES } from '../../../src/lib/note-check.ts'
import { type Child, element, facts, folded, json, list } from './element.ts'
import type { Evidence, HeldRecord } from './read-export.ts'

type Of<K extends Kind> = HeldRecord & { readonly record: RecordOf<K> }

/** The records of these kinds, in order. */
const ofKind = <K extends Kind>({ records }: Evidence, ...kinds: readonly K[]): Of<K>[] =>
  records.filter((held): held is Of<K> => kinds.some((kind) => kind === held.record?.kind))

const what = ({ kind, payload }: RunRecord): string =>
  `${kind.replaceAll('_', ' ')}: ${gist(kind, payload)}`
const line = ({ seq, record }: Of<Kind>): string =>
  `${timeOf(record.ts)}, record ${seq}, ${what(record)}`

export const personOf = ({ principal }: HeldRecord): string =>
  principal ?? 'somebody: the server asked for no token'

export function period(evidence: Evidence): Child[] {
  const [[created], [end]] = [ofKind(evidence, 'run_created'), ofKind(evidence, 'run_end')]
  const last = evidence.records.at(-1)?.record
  return [
    facts({
      Run: evidence.report.run_id,
      Began: created && timeOf(created.record.ts),
      Ended: end ? timeOf(end.record.ts) : 'not when this was exported',
      'Last record': last && timeOf(last.ts),
      Project: created?.record.payload.config.cwd,
      'Processes that worked on it': list(ofKind(evidence, 'run_claimed').map(line)),
    }),
  ]
}

export function asked(evidence: Evidence): Child[] {
  const [created] = ofKind(evidence, 'run_created')
  if (created === undefined) return [element('p', 'The record with the request does not hold.')]
  const { config, instructions, reason, parent, origin, system_prompt } = created.record.payload
  return [
    facts({
      'Asked by': personOf(created),
      Instructions: instructions ? element('pre', instructions) : 'none beside the goal',
      Goal: config.goal,
      Reason: reason,
      'Started by the agent of': parent && `run ${parent.run_id}, record ${parent.seq}`,
      'Begins from': origin && `run ${origin.run_id}, record ${origin.seq} (${origin.kind})`,
      Configuration: json(config),
      'System prompt': folded('Show', () => [element('pre', system_prompt)]),
    }),
  ]
}

export const said = (evidence: Evidence): Child[] =>
  ofKind(evidence, 'user_message', 'assistant_message').map((held) => {
    const { kind, ts, payload } = held.record
    const isAgent = kind === 'assistant_message'
    const calls = isAgent ? payload.tool_calls : []
    return element(
      'article',
      element('h3', `${isAgent ? 'Agent' : personOf(held)}, ${timeOf(ts)}, record ${held.seq}`),
      ...(payload.text ? [element('pre', payload.text)] : []),
      ...calls.map(({ tool, args, raw_args = JSON.stringify(args) }) =>
        element('pre', `${tool} ${raw_args}`),
      ),
    )
  })

export function outcome(evidence: Evidence): Child[] {
  const [[end], [summary]] = [ofKind(evidence, 'run_end'), ofKind(evidence, 'run_summary')]
  return [
    facts({
      Result: end ? gist('run_end', end.record.payload) : 'none yet: the run had not ended',
      Summary: summary && element('pre', summary.record.payload.text),
      Verdict: end?.record.payload.verdict && json(end.record.payload.verdict),
      'Checks of the goal': list(ofKind(evidence, 'goal_check', 'final_check').map(line)),
    }),
  ]
}

export function risks(evidence: Evidence): Child[] {
  const kinds = ['error', 'agent_stuck', 'guard_changed', 'llm_retry', 'run_paused'] as const
  const some = ofKind(evidence, ...kinds, 'network_connection', 'tool_result', 'goal_check')
  const found = some.filter(({ record: { kind, payload } }) => {
    if (kind === 'network_connection') return !payload.allowed
    if (kind === 'tool_result') return payload.outcome !== 'ok' && payload.outcome !== 'error'
    return kind !== 'goal_check' || payload.tampering !== undefined
  })
  return [list(found.map(line))]
}

export function isolation(evidence: Evidence): Child[] {
  const { isolation: policy, isolated_otherwise: otherwise } = evidence.report
  return [
    list(policy === null ? [] : isolationFacts(policy), 'It does not say.'),
    facts({
      'Results isolated in another way': String(otherwise),
      'Connections of commands': list(ofKind(evidence, 'network_connection').map(line)),
    }),
  ]
}

const row = (cell: 'td' | 'th', ...values: readonly unknown[]): HTMLElement =>
  element('tr', ...values.map((value) => element(cell, String(value))))

export function models(evidence: Evidence): Child[] {
  const used = ofKind(evidence, 'llm_usage').map(({ record }) => record.payload)
  const rows = [...Map.groupBy(used, ({ model_name }) => model_name)].map(([model, all]) => {
    const sum = (name: 'input_tokens' | 'output_tokens' | 'cost_usd') =>
      all.reduce((total, one) => total + (one[name] ?? Number.NaN), 0)
    const cost = sum('cost_usd')
    const price = Number.isNaN(cost) ? 'not known' : `$${cost.toFixed(4)}`
    return row('td', model, all.length, sum('input_tokens'), sum('output_tokens'), price)
  })
  const head = row('th', 'Model', 'Requests', 'Tokens in', 'Tokens out', 'Cost')
  return [element('table', element('thead', head), element('tbody', ...rows))]
}

export const redactions = ({ report: { redacted, files } }: Evidence): Child[] => [
  facts({
    Redacted: list(redacted.redactions.map(redactionLine)),
    'Withheld, because there is a secret in it': list(
      files?.withheld.map(({ path, id }) => `${path} (${id})`) ?? [],
    ),
  }),
]

const FOREIGN_KEYS =
  'This page cannot know whose keys these are: compare them with some that you have from elsewhere, or use ' +
  '"retrai verify FILE --fingerprint HEX --witness KEY".'

export function proof({ report, parts }: Evidence): Child[] {
  const { stamp } = report
  const log = LogProof.safeParse(jsonOr(parts.get(LOG_PROOF)?.toString() ?? '', null)).data
  return [
    facts({
      Records: `${report.verified}, of ${report.signed ?? 'unknown'} that were signed`,
      'Hash of the last record': report.head,
      Signed: report.signed_at,
      'Fingerprint of the key': report.key,
      'Covered by': report.log && `checkpoint ${report.log.checkpoint} of ${report.log.origin}`,
      'Signatures of its note': list(log ? signersOf(log.note) : []),
      'Time stamp': stamp && `${stamp.name}, at ${stamp.at}, over checkpoint ${stamp.checkpoint}`,
    }),
    element('p', FOREIGN_KEYS),
  ]
}

/** Who has signed a note. A witness says when. */
const signersOf = (note: string): string[] =>
  (readNote(note)?.signatures ?? []).map(({ name, id, bytes }) => {
    const isTimed = bytes.length > TIME_BYTES + 63
    return `${name}+${id}${isTimed ? `, at ${timeOf(Number(bytes.readBigUInt64BE()))}` : ''}`
  })

/** How many records are made and laid out together. */
const GROUP = 200

/** The records come after all else, so that a person need not wait for them. */
export function everyRecord({ records, parts }: Evidence): Child[] {
  const all = element('div')
  const add = (from: number): void => {
    const group = records.slice(from, from + GROUP).map((held) => recordLine(held, parts))
    all.append(element('div.group', ...group))
    if (from + GROUP < records.length) setTimeout(add, 0, from + GROUP)
  }
  setTimeout(add, 0, 0)
  return [all]
}

function recordLine({ seq, hash, principal, data, record }: HeldRecord, parts: Evidence['parts']) {
  const text = record ? `${timeOf(record.ts)} ${what(record)}`.slice(0, 300) : 'of another version'
  return folded(`${seq} ${text}${principal === null ? '' : ` (${principal})`}`, () => {
    const sha256 = record?.kind === 'tool_result' ? record.payload.sha256 : null
    const whole = parts.get(`${ARTIFACTS}${sha256}`)
    const output = whole ? ['The whole output:', element('pre', whole.toString())] : []
    return [element('p', `Hash ${hash}`), json(data), ...output]
  })
}
