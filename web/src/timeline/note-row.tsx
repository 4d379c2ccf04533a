import {
  IconAlertTriangle,
  IconCpu,
  IconFiles,
  IconFlag,
  IconFlag3Filled,
  IconHandStop,
  IconHourglassEmpty,
  IconMessage,
  IconNote,
  IconPlayerPause,
  IconPlayerPlay,
  IconRefresh,
  IconRobot,
  IconSettings,
  IconWorld,
} from '@tabler/icons-react'
import { nameOfRule, type RunConfig } from '../../../src/api/records.ts'
import { doubtOf } from '../../../src/domain/verdict.ts'
import { Code } from '../code/code.tsx'
import type { Note, RowOf } from '../run/rows.ts'
import { principalOf, type SeqRecordOf } from '../run/seq-record.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted, formatCost, formatCount, formatDuration } from '../ui/format.ts'
import { inWords } from '../ui/reason.ts'
import { ruleText } from '../ui/rule-text.ts'
import { STATUS_NAMES } from '../ui/status.ts'
import { AGENT_NOTES } from './agent-note.tsx'
import { Frame } from './frame.tsx'
import {
  By,
  done,
  lineAnd,
  More,
  type Notes,
  type PropsOf,
  plain,
  Said,
  type Shown,
  shown,
} from './note-parts.tsx'
import classes from './rows.module.css'
import { RunVerdictLines } from './run-verdict.tsx'
import { SubagentLine } from './subagent-line.tsx'

export function NoteRow({ row: { record } }: { readonly row: RowOf<'note'> }) {
  const { icon: Icon, tone, content } = noteOf(record.kind, record)
  return (
    <Frame records={[record]} icon={<Icon size={15} stroke={1.7} />} tone={tone}>
      {content}
    </Frame>
  )
}

const raw = ({ payload }: Note): Shown =>
  shown(IconNote, <Code text={JSON.stringify(payload, null, 2)} language="json" />)

const APPLIED = {
  files: 'Applied onto the folder',
  patch: 'Taken as a patch',
  branch: 'Made a branch',
} as const

/** What a person did with what the run did to files. */
const carried = (record: SeqRecordOf<'changes_applied' | 'files_rolled_back'>, what: string) =>
  done(IconFiles, record, what, {
    rest: `: ${counted(record.payload.count, 'file')}`,
    words: record.payload.reason,
  })

const NOTES: Notes = {
  ...AGENT_NOTES,
  run_paused: ({ payload: { reason } }) =>
    plain(IconPlayerPause, `Paused: ${inWords(reason)}`, 'human'),
  run_resumed: (record) =>
    done(IconPlayerPlay, record, 'The run continues', { words: record.payload.reason }),
  project_copied: ({ payload: { project, files } }) =>
    plain(
      IconFiles,
      `A copy of the project was made: ${counted(files, 'file')}, in ${project.path}`,
    ),
  changes_applied: (record) => carried(record, APPLIED[record.payload.as]),
  files_rolled_back: (record) => carried(record, `Rolled back to snapshot ${record.payload.to}`),
  copy_discarded: (record) => lineAnd(IconFiles, 'The copy was removed', record.payload.reason),
  run_created: (record) => shown(IconFlag, <Created record={record} />),
  user_message: (record) => {
    const { text: words } = record.payload
    return done(IconMessage, record, 'A message to the agent', { words, tone: 'human' })
  },
  run_claimed: ({ payload: { pid, host } }) =>
    lineAnd(
      IconCpu,
      <span title={visible(`Process ${pid} on ${host}`)}>A server works on the run</span>,
    ),
  run_queued: ({ payload: { reason } }) => plain(IconHourglassEmpty, `Queued: ${reason}`, 'human'),
  run_config_changed: (record) => {
    const { changes, reason: words } = record.payload
    const told = Object.entries(changes).map(([name, value]) => `${name} is now ${String(value)}`)
    const rest = `: ${told.join(', ')}`
    return done(IconSettings, record, 'Configuration changed', { rest, words })
  },
  approval_required: ({ payload: { tool, rule, content } }) => {
    const why = content.reason === undefined ? '' : `: ${content.reason}`
    const what = `${tool} waits for a person. ${nameOfRule(rule)} asks${why}`
    return plain(IconHandStop, what, 'human')
  },
  approval_response: (record) => {
    const { decision, reason: words, lifts_rule } = record.payload
    const [what, tone] = DECIDED[decision]
    const rest = lifts_rule === true ? ', and the rule no longer asks in this run' : ''
    return done(IconHandStop, record, what, { rest, words, tone })
  },
  llm_retry: ({ payload: { attempt, reason, delay_ms, fallback } }) => {
    const next =
      fallback === undefined
        ? `Retried after ${formatDuration(delay_ms / 1000)}.`
        : `The run continues with ${fallback.to}.`
    return plain(IconRefresh, `Model call ${attempt} failed: ${reason}. ${next}`, 'human')
  },
  network_connection: ({ payload }) => {
    const isFine = payload.allowed && payload.reason === null
    return plain(IconWorld, connection(payload), isFine ? 'plain' : 'failed')
  },
  guard_changed: ({ payload: { path, sha256 } }) => {
    const how = sha256 === null ? 'is gone, or is not a file' : 'appeared or changed'
    const what = `${path} ${how} while a command ran. It decides what git or this server runs later.`
    return plain(IconAlertTriangle, what, 'human')
  },
  snapshot: ({ payload: { files, tree } }) =>
    plain(IconFiles, `The project has ${counted(files, 'file')}: snapshot ${tree.slice(0, 12)}`),
  left_out_hashed: ({ payload: { entries } }) => {
    const many = 'count' in entries ? entries.count : entries.length
    const what = `What snapshots leave out was hashed before any call changed files: ${counted(many, 'path')}`
    return plain(IconFiles, what)
  },
  subagent_started: ({ payload: { run_id, config } }) =>
    shown(IconRobot, <SubagentLine runId={run_id} goal={config.goal} />),
  error: ({ seq, payload: { message, traceback } }) =>
    shown(
      IconAlertTriangle,
      <>
        <p className={classes.line}>
          <b>Error</b> {visible(message)}
        </p>
        {traceback.trim() !== '' && (
          <More name={`trace ${seq}`} label="Traceback" text={traceback} />
        )}
      </>,
      'failed',
    ),
  run_end: (record) => {
    const { status } = record.payload
    return shown(
      IconFlag3Filled,
      <Ended record={record} />,
      status === 'aborted' ? 'plain' : status,
    )
  },
  assistant_message: raw,
  tool_result: raw,
  human_check_response: raw,
}

const DECIDED = { allow: ['Allowed', 'plain'], deny: ['Denied', 'failed'] } as const

const noteOf = <K extends Note['kind']>(kind: K, record: SeqRecordOf<K>): Shown =>
  NOTES[kind](record)

function Created({ record }: PropsOf<'run_created'>) {
  const { config, system_prompt, instructions, reason, server_approvals } = record.payload
  const { all_of: goals = [], mcp_servers: servers = [], network } = config
  const rules = [...(server_approvals ?? []), ...(config.approvals ?? [])]
  const lines = [
    ...(goals.length === 0 ? [] : [`Goals: ${goals.map(({ goal }) => goal).join(', ')}`]),
    ...(rules.length === 0 ? [] : [`Rules for its calls: ${rules.map(ruleText).join('. ')}.`]),
    ...(network === undefined ? [] : [`Network of its commands: ${networkOf(network)}`]),
    ...(servers.length === 0 ? [] : [`MCP servers: ${servers.map(({ name }) => name).join(', ')}`]),
  ]
  return (
    <>
      <p className={classes.line}>
        <Asked record={record} /> to reach <b>{config.goal}</b> in{' '}
        <code>{visible(config.cwd)}</code>
      </p>
      {lines.map((line) => (
        <p key={line} className={classes.line}>
          {visible(line)}
        </p>
      ))}
      {instructions !== undefined && <Said words={instructions} />}
      {reason !== undefined && <Said words={reason} />}
      <More name={`prompt ${record.seq}`} label="System prompt" text={system_prompt} />
    </>
  )
}

function Ended({ record }: PropsOf<'run_end'>) {
  const { status, reason, verdict, iterations, total_tokens, estimated_cost_usd } = record.payload
  const isDoubted = doubtOf(verdict) !== null
  // The head of the page says it, and the check above.
  const isSaid = status === 'achieved' && !isDoubted
  return (
    <div className={classes.end} data-status={status} data-doubted={isDoubted}>
      <b>
        {isSaid ? 'The run has ended' : STATUS_NAMES[status]}
        {isDoubted && ', in doubt'}
      </b>
      <By record={record} />
      {!isSaid && <p className={classes.reason}>{visible(inWords(reason))}</p>}
      {verdict !== undefined && <RunVerdictLines verdict={verdict} />}
      <div className={classes.facts}>
        <span>{counted(iterations, 'iteration')}</span>
        <span>{counted(total_tokens, 'token')}</span>
        {estimated_cost_usd !== null && <span>{formatCost(estimated_cost_usd)}</span>}
      </div>
    </div>
  )
}

function connection(payload: SeqRecordOf<'network_connection'>['payload']): string {
  const { host, port, allowed, reason, bytes_in, bytes_out, connections, protocol } = payload
  const one = host === '*' ? 'all hosts' : `${host}:${port}`
  const to = connections === undefined ? one : `${counted(connections, 'host')}`
  const over = protocol === undefined ? '' : ` (${protocol})`
  const what = `${allowed ? 'Connection' : 'Refused connection'} to ${to}${over}`
  const bytes =
    bytes_in === null || bytes_out === null || !allowed
      ? []
      : [`${counted(bytes_out, 'byte')} sent, ${formatCount(bytes_in)} received`]
  return [what, ...bytes, ...(reason === null ? [] : [reason])].join(': ')
}

/** What a run asked for, for people. */
const networkOf = (network: RunConfig['network']): string =>
  typeof network === 'object' ? network.allow.join(', ') : (network ?? 'none')

/** `ada asked`, or only `Asked` if it is not known who did. */
function Asked({ record }: PropsOf<'run_created'>) {
  const principal = principalOf(record)
  if (principal === null) return 'Asked'
  return (
    <>
      <b className={classes.principal}>{principal}</b> asked
    </>
  )
}
