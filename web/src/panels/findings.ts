import {
  CHECKS_AS_COMMANDS,
  isolationFacts,
  otherwiseIsolated,
} from '../../../src/api/about-server.ts'
import type { LogState } from '../../../src/api/log.ts'
import type { RunDetails } from '../../../src/client/index.ts'
import { statusOf } from '../../../src/domain/state.ts'
import type { Connection } from '../run/run-store.ts'
import type { RunView } from '../run/run-view.ts'
import { redactedIn } from '../run/seq-record.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted, formatAgo, formatCount } from '../ui/format.ts'
import type { ProofVerdict } from '../verify/protocol.ts'
import type { Verifying } from '../verify/use-verification.ts'

/** One finding about a run: checked and good, checked and bad, not checked, or a note. */
export type Finding = {
  readonly verdict: 'good' | 'bad' | 'open' | 'note'
  readonly what: string
  readonly more: string | undefined
  /** What a person can do about it. */
  readonly action: { readonly label: string; readonly run: () => void } | undefined
}

const found =
  (verdict: Finding['verdict']) =>
  (what: string, more?: string, label?: string, run: () => void = () => {}): Finding => ({
    verdict,
    what,
    more,
    action: label === undefined ? undefined : { label, run },
  })
const good = found('good')
const bad = found('bad')
const open = found('open')
const note = found('note')

/** Whether the server's signature was requested, and the result. */
export type Signing = {
  readonly verdict: ProofVerdict | null
  readonly pending: boolean
  readonly error: string | null
  readonly ask: () => void
}

export type Evidence = {
  readonly view: RunView
  readonly server: RunDetails | null
  readonly connection: Connection
  readonly verifying: Verifying
  readonly signing: Signing
  /** Which witnesses have seen the checkpoints, as of `now` (milliseconds since the epoch); undefined if that is not known. */
  readonly witnessed:
    | (Pick<LogState, 'quorum' | 'witnesses' | 'stamp'> & { readonly now: number })
    | undefined
  readonly onSeek: (seq: number) => void
}

/** What is known about the records that have arrived. */
export function examine(evidence: Evidence): readonly Finding[] {
  const { view, server, connection } = evidence
  return [
    ...order(view),
    chain(evidence),
    signed(evidence),
    ...seen(evidence),
    ...stamped(evidence),
    ...isolation(view),
    ...mcpServers(view),
    ...redactions(view),
    ...held(server),
    complete(view, server, connection),
    account(view, server),
  ]
}

function order({ records, broken }: RunView): Finding[] {
  if (broken === null) return []
  const what =
    records.length === 0
      ? 'No record is shown: the first one is not valid'
      : `Showing records up to ${formatCount(records.length - 1)}`
  return [bad(what, broken.message)]
}

function chain({ view: { records }, verifying, onSeek }: Evidence): Finding {
  const { verified, bad: wrong, failure, begun, begin } = verifying
  const all = counted(records.length, 'record')
  if (wrong !== null) {
    const { seq, message } = wrong
    const before = seq === 0 ? '' : ` The ${counted(seq, 'record')} before it are valid.`
    return bad(
      `Record ${formatCount(seq)} is not valid`,
      `Verified here, in your browser: ${message}.${before} The records after it were not verified.`,
      `Look at record ${formatCount(seq)}`,
      () => onSeek(seq),
    )
  }
  if (failure !== null) return open('This browser cannot verify the hashes', failure)
  if (records.length === 0) return open('No record has arrived yet')
  if (verified === records.length) {
    return good(
      `${formatCount(verified)} of ${all} verified here, in your browser`,
      'Each hash was computed again and includes the one before it. The order of the records is valid',
    )
  }
  if (begun) return open(`${formatCount(verified)} of ${all} verified so far, in your browser`)
  const what = 'The hashes of this long run have not been verified here'
  return open(what, undefined, `Verify ${all} in this browser`, begin)
}

function signed(evidence: Evidence): Finding {
  const { verdict, error, pending, ask } = evidence.signing
  if (error !== null) {
    return open("The server's signature could not be checked", error, 'Try again', ask)
  }
  if (verdict !== null) return judged(verdict, evidence)
  if (pending) return open('Asking the server for its signature')
  const what = 'The server has not signed this yet'
  return open(what, undefined, 'Ask for its signature now', ask)
}

function judged(
  verdict: ProofVerdict,
  { view, connection, verifying, signing }: Evidence,
): Finding {
  switch (verdict.type) {
    case 'unreadable':
      return bad("The server's signature cannot be read", verdict.message)
    case 'unknown_key':
      return bad('Signed by a key that the server does not publish', `key ${verdict.key}`)
    case 'forged':
      return bad('The signature is not valid for the key that it names', `key ${verdict.key}`)
  }
  const { length, head, policy, signedAt, runId } = verdict
  const first = view.records[0]
  if (first !== undefined && first.run_id !== runId)
    return bad('The server has signed a different run')
  const last = view.records[length - 1]
  const ended = connection.type === 'complete'
  if (ended && length !== view.records.length) {
    return bad(`The server has signed ${counted(length, 'record')}, but this run has other records`)
  }
  if (last === undefined || verifying.verified < length) {
    const part = counted(length, 'record')
    return open(`The server has signed ${part}, and not all of them are verified here`)
  }
  if (last.meta?.hash !== head) return bad('The server has signed a different history')
  if (policy !== null && policyOf(view)?.policy_sha256 !== policy) {
    return bad('The server has signed a different isolation policy from the recorded one', policy)
  }
  const names = policy === null ? '' : '. It names the recorded isolation policy'
  return good(
    ended
      ? 'The server has signed exactly this history'
      : `The server has signed the first ${counted(length, 'record')} as they are here`,
    `Its head hash equals the one computed here; the Ed25519 signature of ${momentOf(signedAt)} is valid${names}`,
    ended ? undefined : 'Ask again',
    signing.ask,
  )
}

/** What the server says of its witnesses: they can be asked, and `retrai verify --witness` checks their signatures. */
function seen({ witnessed }: Evidence): Finding[] {
  if (witnessed === undefined || witnessed.witnesses.length === 0) return []
  const { quorum, witnesses, now } = witnessed
  const times = witnesses.flatMap(({ at }) => (at === null ? [] : [Date.parse(at)]))
  const ago = times.length === 0 ? '' : `, ${formatAgo(Math.max(...times), now)}`
  const problems = witnesses.flatMap(({ name, problem }) =>
    problem === null ? [] : [`${name}: ${problem}`],
  )
  const what = `The newest checkpoint was seen by ${quorum.seen} of ${witnesses.length} witnesses${ago}`
  const told = `That is what the server reports; ${quorum.needed} must see it`
  return [(quorum.holds ? note : open)(what, [told, ...problems].join('. '))]
}

/** What the server says of its newest time stamp: `retrai verify` checks the one of an export. */
function stamped({ witnessed }: Evidence): Finding[] {
  const { name, at, problem } = witnessed?.stamp ?? {}
  if (problem === undefined) return []
  const newest = name && at ? `stamped by ${name} at ${momentOf(at)}` : 'not stamped yet'
  const what = `The time of the checkpoints was ${newest}`
  const told = 'That is what the server reports'
  return [problem === null ? note(what, told) : open(what, `${told}. ${problem}`)]
}

const MOMENT = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })
const momentOf = (iso: string): string => {
  const time = Date.parse(iso)
  return Number.isNaN(time) ? iso : MOMENT.format(time)
}

/** The policy of isolation in the first record. */
function policyOf({ records: [first] }: RunView) {
  return first?.kind === 'run_created' ? first.payload.isolation : undefined
}

/** How its commands were isolated: a part of the first record, which every hash and the signature cover. */
function isolation(view: RunView): Finding[] {
  const { records } = view
  if (records[0]?.kind !== 'run_created') return []
  const policy = policyOf(view)
  if (policy === undefined) return [note('The record does not say how its commands were isolated')]
  const [level = '', ...facts] = isolationFacts(policy)
  const differing = records.flatMap(({ kind, payload }) =>
    (kind === 'tool_result' || kind === 'goal_check') && payload.isolation !== undefined
      ? [otherwiseIsolated(kind, payload.isolation, policy)]
      : [],
  )
  const others = differing.filter((how) => how === 'other').length
  const otherwise = [
    ...(differing.includes('check') ? [CHECKS_AS_COMMANDS] : []),
    ...(others === 0 ? [] : [`${counted(others, 'result')} with another isolation, as recorded`]),
  ]
  return [note(`Isolation: ${level}`, [...facts, ...otherwise].join('; '))]
}

/** The tools of its MCP servers, as they were listed. */
function mcpServers({ records }: RunView): Finding[] {
  const listed = records.flatMap(({ kind, payload }) =>
    kind === 'mcp_tools_listed' ? [payload] : [],
  )
  if (listed.length === 0) return []
  const changed = listed.filter(({ changes }) => changes !== undefined)
  const more = listed.map(({ server, tools, problem }) => {
    const hashes = tools.map(({ tool, sha256 }) => `${tool} ${sha256.slice(0, 12)}`)
    return `${server}: ${problem ?? hashes.join(', ')}`
  })
  const all = listed.map(({ server, tools }) => `${server} (${tools.length})`).join(', ')
  const servers = changed.map(({ server }) => server).join(', ')
  return [
    changed.length === 0
      ? note(`Tools of MCP servers: ${all}`, more.join('; '))
      : bad(`The tools of an MCP server changed in the run: ${servers}`, more.join('; ')),
  ]
}

function redactions({ records, redactions: redacted }: RunView): Finding[] {
  if (redacted.length === 0) return []
  const texts = redacted.reduce((sum, seq) => {
    const record = records[seq]
    return sum + (record === undefined ? 0 : redactedIn(record))
  }, 0)
  const what = `${counted(texts, 'text')} redacted in ${counted(redacted.length, 'record')}`
  return [note(what, 'Commitments replace them, so that the rest can still be verified')]
}

function held(server: RunDetails | null): Finding[] {
  if (server?.hold === undefined) return []
  const { reason, since, principal } = server.hold
  const more = `${visible(reason)}. By ${principal ?? 'somebody'}, ${formatAgo(Date.parse(since), Date.now())}`
  return [note('On hold: no rule of retention removes it', more)]
}

function complete(view: RunView, server: RunDetails | null, connection: Connection): Finding {
  const last = view.records.length - 1
  if (connection.type === 'complete') return good('The run has ended, and all its records are here')
  if (connection.type === 'lost') {
    return open('There may be more records: the connection is lost')
  }
  const head = server?.progress.seq ?? null
  return head !== null && last < head
    ? open(`Not complete yet: the server has records up to ${formatCount(head)}`)
    : good('Up to date with the server')
}

/** If page and server are at the same record, the server's totals must be those that follow from the records. */
function account({ state, usage }: RunView, server: RunDetails | null): Finding {
  if (server === null || state === null || server.progress.seq !== state.seq) {
    return open('Totals are compared when both are at the same record')
  }
  const { total_tokens, estimated_cost_usd, iteration } = server.progress
  const same =
    server.status === statusOf(state) &&
    iteration === state.iteration &&
    total_tokens === state.total.tokens &&
    estimated_cost_usd === state.total.costUsd
  if (!same) return bad("The server's totals do not match the records")
  const compared = `status, iteration, tokens and cost of ${counted(usage.length, 'model call')}`
  return good("The server's totals match the records", compared)
}
