import {
  IconAlertTriangle,
  IconCpu,
  IconFlag,
  IconFlag3Filled,
  IconHandStop,
  IconHourglassEmpty,
  IconMessage,
  IconNote,
  IconRefresh,
  IconRobot,
  IconSettings,
  IconWorld,
} from '@tabler/icons-react'
import type { RunConfig } from '../../../src/api/records.ts'
import { Code } from '../code/code.tsx'
import { principalOf } from '../run/attribution.ts'
import type { Note, RowOf } from '../run/rows.ts'
import type { SeqRecordOf } from '../run/seq-record.ts'
import { ruleText } from '../start/rule-draft.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted, formatCost, formatCount, formatDuration } from '../ui/format.ts'
import { STATUS_NAMES } from '../ui/status.ts'
import { agentNoteOf } from './agent-note.tsx'
import { By } from './by.tsx'
import { Frame } from './frame.tsx'
import { lineAnd, More, plain, type Shown, SIZE } from './note-parts.tsx'
import classes from './rows.module.css'
import { SubagentLine } from './subagent-line.tsx'

export function NoteRow({ row: { record } }: { readonly row: RowOf<'note'> }) {
  const { icon, tone, content } = noteOf(record)
  return (
    <Frame records={[record]} icon={icon} tone={tone}>
      {content}
    </Frame>
  )
}

function noteOf(record: Note): Shown {
  switch (record.kind) {
    case 'run_created': {
      const { config, system_prompt, instructions, reason, server_approvals } = record.payload
      const rules = [...(server_approvals ?? []), ...(config.approvals ?? [])]
      return {
        icon: <IconFlag {...SIZE} />,
        tone: 'plain',
        content: (
          <>
            <p className={classes.line}>
              <Asked record={record} /> to reach <b>{config.goal}</b> in{' '}
              <code>{visible(config.cwd)}</code>
            </p>
            {config.all_of !== undefined && (
              <p className={classes.line}>
                Goals: {visible(config.all_of.map(({ goal }) => goal).join(', '))}
              </p>
            )}
            {rules.length > 0 && (
              <p className={classes.line}>
                Rules for its calls: {visible(rules.map(ruleText).join('. '))}.
              </p>
            )}
            {config.network !== undefined && (
              <p className={classes.line}>
                Network of its commands: {visible(networkOf(config.network))}
              </p>
            )}
            {config.mcp_servers !== undefined && (
              <p className={classes.line}>
                MCP servers: {config.mcp_servers.map(({ name }) => name).join(', ')}
              </p>
            )}
            {instructions !== undefined && <q className={classes.said}>{visible(instructions)}</q>}
            {reason !== undefined && <q className={classes.said}>{visible(reason)}</q>}
            <More name={`prompt ${record.seq}`} label="System prompt" text={system_prompt} />
          </>
        ),
      }
    }
    case 'user_message': {
      const line = (
        <>
          A message to the agent
          <By record={record} />
        </>
      )
      return { ...lineAnd(<IconMessage {...SIZE} />, line, record.payload.text), tone: 'human' }
    }
    case 'project_context':
    case 'mcp_tools_listed':
    case 'agent_stuck':
    case 'context_compacted':
    case 'llm_usage':
    case 'run_ending':
    case 'run_summary':
      return agentNoteOf(record)
    case 'run_claimed': {
      const { pid, host } = record.payload
      return plain(<IconCpu {...SIZE} />, `Process ${pid} on ${host} works on the run`)
    }
    case 'run_queued': {
      const told = `Queued: ${record.payload.reason}`
      return { ...plain(<IconHourglassEmpty {...SIZE} />, told), tone: 'human' }
    }
    case 'run_config_changed': {
      const { changes, reason } = record.payload
      const told = Object.entries(changes).map(([name, value]) => `${name} is now ${String(value)}`)
      const line = (
        <>
          Configuration changed
          <By record={record} />: {told.join(', ')}
        </>
      )
      return lineAnd(<IconSettings {...SIZE} />, line, reason)
    }
    case 'approval_required': {
      const { tool, rule, content } = record.payload
      const why = content.reason === undefined ? '' : `: ${content.reason}`
      const what = `${tool} waits for a person, by rule ${rule.index + 1} of the ${rule.of}${why}`
      return { ...plain(<IconHandStop {...SIZE} />, what), tone: 'human' }
    }
    case 'approval_response': {
      const { decision, reason, lifts_rule } = record.payload
      const line = (
        <>
          {decision === 'allow' ? 'Allowed' : 'Denied'}
          <By record={record} />
          {lifts_rule === true && ', and the rule no longer asks in this run'}
        </>
      )
      const tone = decision === 'allow' ? 'plain' : 'failed'
      return { ...lineAnd(<IconHandStop {...SIZE} />, line, reason), tone }
    }
    case 'llm_retry': {
      const { attempt, reason, delay_ms, fallback } = record.payload
      const next =
        fallback === undefined
          ? `Retried after ${formatDuration(delay_ms / 1000)}.`
          : `The run continues with ${fallback.to}.`
      const told = `Model call ${attempt} failed: ${reason}. ${next}`
      return { ...plain(<IconRefresh {...SIZE} />, told), tone: 'human' }
    }
    case 'network_connection': {
      const { allowed, reason } = record.payload
      return {
        ...plain(<IconWorld {...SIZE} />, connection(record.payload)),
        tone: allowed && reason === null ? 'plain' : 'failed',
      }
    }
    case 'guard_changed': {
      const { path, sha256 } = record.payload
      const how = sha256 === null ? 'is gone, or is not a file' : 'appeared or changed'
      const what = `${path} ${how} while a command ran. It decides what git or this server runs later.`
      return { ...plain(<IconAlertTriangle {...SIZE} />, what), tone: 'human' }
    }
    case 'subagent_started':
      return {
        icon: <IconRobot {...SIZE} />,
        tone: 'plain',
        content: <SubagentLine runId={record.payload.run_id} goal={record.payload.config.goal} />,
      }
    case 'error': {
      const { message, traceback } = record.payload
      return {
        icon: <IconAlertTriangle {...SIZE} />,
        tone: 'failed',
        content: (
          <>
            <p className={classes.line}>
              <b>Error</b> {visible(message)}
            </p>
            {traceback.trim() !== '' && (
              <More name={`trace ${record.seq}`} label="Traceback" text={traceback} />
            )}
          </>
        ),
      }
    }
    case 'run_end': {
      const { status, reason, iterations, total_tokens, estimated_cost_usd } = record.payload
      return {
        icon: <IconFlag3Filled size={15} />,
        tone: status === 'achieved' ? 'achieved' : status === 'failed' ? 'failed' : 'plain',
        content: (
          <div className={classes.end} data-status={status}>
            <b>{STATUS_NAMES[status]}</b>
            <By record={record} />
            <p className={classes.reason}>{visible(reason)}</p>
            <div className={classes.facts}>
              <span>{counted(iterations, 'iteration')}</span>
              <span>{formatCount(total_tokens)} tokens</span>
              {estimated_cost_usd !== null && <span>{formatCost(estimated_cost_usd)}</span>}
            </div>
          </div>
        ),
      }
    }
    case 'assistant_message':
    case 'tool_result':
    case 'human_check_response':
      return {
        icon: <IconNote {...SIZE} />,
        tone: 'plain',
        content: <Code text={JSON.stringify(record.payload, null, 2)} language="json" />,
      }
  }
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
      : [`${formatCount(bytes_out)} bytes sent, ${formatCount(bytes_in)} received`]
  return [what, ...bytes, ...(reason === null ? [] : [reason])].join(': ')
}

/** What a run asked for, for people. */
const networkOf = (network: RunConfig['network']): string =>
  typeof network === 'object' ? network.allow.join(', ') : (network ?? 'none')

/** `ada asked`, or only `Asked` if it is not known who did. */
function Asked({ record }: { readonly record: Note }) {
  const principal = principalOf(record)
  if (principal === null) return 'Asked'
  return (
    <>
      <b className={classes.principal}>{principal}</b> asked
    </>
  )
}
