import { isolationFacts } from '../../../src/api/about-server.ts'
import { LogProof } from '../../../src/api/audit.ts'
import { LOG_PROOF } from '../../../src/audit/bundle/bundle-format.ts'
import { gist } from '../../../src/cli/terminal/event-line.ts'
import { timeOf } from '../../../src/cli/terminal/plain-text.ts'
import type { Kind, RecordOf } from '../../../src/domain/records.ts'
import { jsonOr } from '../../../src/lib/json.ts'
import { readNote, TIME_BYTES } from '../../../src/lib/note-check.ts'
import { type Child, element, facts, folded, json, list } from './element.ts'
import type { Evidence, HeldRecord } from './read-export.ts'

type Of<K extends Kind> = HeldRecord & { readonly record: RecordOf<K> }

/** The records of a kind, in order. */
export const ofKind = <K extends Kind>({ records }: Evidence, ...kinds: readonly K[]): Of<K>[] =>
  records.filter((held): held is Of<K> => kinds.some((kind) => kind === held.record?.kind))

const line = ({ seq, record }: HeldRecord): string =>
  record === null
    ? `Record ${seq}`
    : `${timeOf(record.ts)}, record ${seq}: ${gist(record.kind, record.payload)}`

const none = (what: string): Child[] => [element('p', what)]

export function period(evidence: Evidence): Child[] {
  const [created] = ofKind(evidence, 'run_created')
  const [end] = ofKind(evidence, 'run_end')
  const last = evidence.records.at(-1)
  const processes = ofKind(evidence, 'run_claimed').map(
    ({ record: { ts, payload } }) => `${timeOf(ts)}: process ${payload.pid} on ${payload.host}`,
  )
  return [
    facts({
      Run: evidence.report.run_id,
      Began: created && timeOf(created.record.ts),
      Ended: end
        ? `${timeOf(end.record.ts)}, ${end.record.payload.status}`
        : 'not when this was exported',
      'Last record': last?.record && timeOf(last.record.ts),
      Project: created?.record.payload.config.cwd,
      'Worked on by': processes.length > 0 ? list(processes) : null,
    }),
  ]
}

export function asked(evidence: Evidence): Child[] {
  const [created] = ofKind(evidence, 'run_created')
  if (created === undefined) return none('The record with the request does not hold.')
  const { config, instructions, reason, parent, origin, system_prompt } = created.record.payload
  return [
    facts({
      'Asked by': created.principal ?? 'not known: the server had no tokens',
      Instructions: instructions ? element('pre', instructions) : 'none beside the goal',
      Goal: config.goal,
      Reason: reason,
      'Started by the agent of': parent && `run ${parent.run_id}, record ${parent.seq}`,
      'Begins from': origin && `run ${origin.run_id}, record ${origin.seq} (${origin.kind})`,
      Configuration: json(config),
      'System prompt': folded('Show', () => element('pre', system_prompt)),
    }),
  ]
}

export function said(evidence: Evidence): Child[] {
  const all = ofKind(evidence, 'user_message', 'assistant_message', 'context_compacted')
  if (all.length === 0) return none('Nothing was said.')
  return all.map(({ seq, record, principal }) => {
    const { kind, payload } = record
    const who =
      kind === 'user_message'
        ? (principal ?? 'A person')
        : kind === 'assistant_message'
          ? 'Agent'
          : 'Summary'
    const text = kind === 'context_compacted' ? payload.summary : payload.text
    const calls = kind === 'assistant_message' ? payload.tool_calls : []
    return element(
      `article.${kind}`,
      element('h3', `${who}, ${timeOf(record.ts)}, record ${seq}`),
      ...(text ? [element('pre', text)] : []),
      ...(calls.length === 0
        ? []
        : [
            list(
              calls.map((call) =>
                element('code', `${call.tool} ${call.raw_args ?? JSON.stringify(call.args)}`),
              ),
            ),
          ]),
    )
  })
}

export function outcome(evidence: Evidence): Child[] {
  const [end] = ofKind(evidence, 'run_end')
  const [summary] = ofKind(evidence, 'run_summary')
  const checks = ofKind(evidence, 'goal_check', 'final_check').map(line)
  return [
    facts({
      Result: end ? gist('run_end', end.record.payload) : 'none yet: the run had not ended',
      Summary: summary && element('pre', summary.record.payload.text),
      Verdict: end?.record.payload.verdict && json(end.record.payload.verdict),
      'Checks of the goal': checks.length > 0 ? list(checks) : 'none',
    }),
  ]
}

const RISKS = [
  'error',
  'agent_stuck',
  'guard_changed',
  'llm_retry',
  'run_paused',
  'run_queued',
  'run_ending',
] as const

export function risks(evidence: Evidence): Child[] {
  const lines = evidence.records.flatMap((held) => {
    const { record } = held
    const isOne =
      RISKS.some((kind) => kind === record?.kind) ||
      (record?.kind === 'network_connection' && !record.payload.allowed) ||
      (record?.kind === 'tool_result' && !['ok', 'error'].includes(record.payload.outcome)) ||
      (record?.kind === 'goal_check' && record.payload.tampering !== undefined)
    return isOne && record ? [`${record.kind.replaceAll('_', ' ')}, ${line(held)}`] : []
  })
  return lines.length > 0 ? [list(lines)] : none('Nothing of this kind was recorded.')
}

export function isolation(evidence: Evidence): Child[] {
  const { isolation: policy, isolated_otherwise: otherwise } = evidence.report
  const connections = ofKind(evidence, 'network_connection').map(line)
  return [
    policy === null
      ? element('p', 'It does not say how its commands were isolated.')
      : list(isolationFacts(policy)),
    ...(otherwise > 0
      ? [
          element(
            'p',
            `${otherwise} results of calls or checks were isolated in another way, as recorded.`,
          ),
        ]
      : []),
    element('h3', 'Connections of commands'),
    ...(connections.length > 0 ? [list(connections)] : none('None were recorded.')),
  ]
}

export function models(evidence: Evidence): Child[] {
  const used = ofKind(evidence, 'llm_usage').map(({ record }) => record.payload)
  const byModel = Map.groupBy(
    used,
    ({ model_name, provider }) => `${model_name}${provider ? `, ${provider}` : ''}`,
  )
  const sum = (all: readonly (number | null)[]) =>
    all.includes(null) ? null : all.reduce<number>((total, one) => total + (one ?? 0), 0)
  const cells = (name: string, values: readonly string[]) =>
    element('tr', ...values.map((value) => element(name, value)))
  const rows = [...byModel].map(([model, all]) => {
    const cost = sum(all.map(({ cost_usd }) => cost_usd))
    const tokens = [
      sum(all.map((one) => one.input_tokens)),
      sum(all.map((one) => one.output_tokens)),
    ]
    return cells('td', [
      model,
      `${all.length}`,
      ...tokens.map(String),
      cost === null ? 'not known' : `$${cost.toFixed(4)}`,
    ])
  })
  if (rows.length === 0) return none('No model was asked.')
  const head = cells('th', ['Model', 'Requests', 'Tokens in', 'Tokens out', 'Cost'])
  return [element('table', element('thead', head), element('tbody', ...rows))]
}

export function redactions({ report }: Evidence): Child[] {
  const { redactions: all } = report.redacted
  const withheld = report.files?.withheld ?? []
  return [
    all.length === 0
      ? element('p', 'Nothing was redacted.')
      : list(
          all.map(
            ({ run_id, seq, pointers, ts, principal, reason }) =>
              `Run ${run_id}, record ${seq}: ${pointers.join(', ') || 'files'}, ${timeOf(ts)} by ${principal ?? 'unknown'}: ${reason}`,
          ),
        ),
    withheld.length === 0
      ? element('p', 'No file was withheld because of a secret in it.')
      : list(
          withheld.map(
            ({ path, id }) => `Withheld, because there is a secret in it: ${path} (${id})`,
          ),
        ),
  ]
}

export function proof({ report, parts }: Evidence): Child[] {
  const log = LogProof.safeParse(jsonOr(parts.get(LOG_PROOF)?.toString() ?? '', null)).data
  const stamps = [...parts.keys()].filter((path) => path.startsWith('stamps/'))
  return [
    facts({
      'Hash of the last record': report.head,
      Records: `${report.verified} of ${report.signed ?? 'unknown'} that were signed`,
      Signed: report.signed_at,
      'Fingerprint of the key': report.key,
      'Log of checkpoints':
        report.log &&
        `checkpoint ${report.log.checkpoint} of ${report.log.origin} covers ${report.log.records} records`,
      'Seen by': log ? list(signaturesOf(log.note)) : 'no checkpoint covers the run',
      'Time stamps': stamps.length > 0 ? list(stamps) : 'none in this export',
    }),
    element(
      'p',
      'Whether this is the key of the server, and those of witnesses, this page cannot know: compare the fingerprint with one from another source, ' +
        'or use retrai verify FILE --fingerprint HEX --witness KEY.',
    ),
  ]
}

/** Who has signed a note. A cosignature begins with the time. */
const signaturesOf = (note: string): string[] =>
  (readNote(note)?.signatures ?? []).map(({ name, id, bytes }) => {
    const isTimed = bytes.length === TIME_BYTES + 64
    const when = isTimed ? `, witness, ${timeOf(Number(Buffer.from(bytes).readBigUInt64BE()))}` : ''
    return `${name}, key ${id}${when}`
  })

/** How many records are laid out together. */
const GROUP = 100

export function everyRecord({ records, parts }: Evidence): Child[] {
  return Array.from({ length: Math.ceil(records.length / GROUP) }, (_, index) =>
    element(
      'div.group',
      ...records.slice(index * GROUP, (index + 1) * GROUP).map((held) => recordLine(held, parts)),
    ),
  )
}

function recordLine(
  { seq, hash, principal, data, record }: HeldRecord,
  parts: Evidence['parts'],
): HTMLElement {
  const what =
    record === null
      ? 'of another version'
      : `${record.kind} ${gist(record.kind, record.payload).slice(0, 300)}`
  const summary = element(
    'span',
    `${seq} ${record ? timeOf(record.ts) : ''} ${what}${principal ? ` (${principal})` : ''}`,
  )
  return folded(summary, () => {
    const sha256 = record?.kind === 'tool_result' ? record.payload.sha256 : null
    const whole = parts.get(`artifacts/${sha256}`)
    return element(
      'div',
      element('p', `Hash ${hash}`),
      json(data),
      ...(whole ? [element('p', 'The whole output:'), element('pre', whole.toString())] : []),
    )
  })
}
