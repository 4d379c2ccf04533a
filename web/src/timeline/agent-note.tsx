import {
  IconAlertTriangle,
  IconFileText,
  IconFold,
  IconFolderOpen,
  IconPlugConnected,
  IconRotate2,
  IconShieldCheck,
  IconSparkles,
} from '@tabler/icons-react'
import type { SeqRecordOf } from '../run/seq-record.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted, formatCost, formatCount } from '../ui/format.ts'
import { inWords } from '../ui/reason.ts'
import { lineAnd, More, type Notes, type PropsOf, plain, shown } from './note-parts.tsx'
import classes from './rows.module.css'

type Listed = SeqRecordOf<'mcp_tools_listed'>['payload']

/** What is recorded about the work of the agent, apart from its replies and calls. */
export const AGENT_NOTES: Notes<
  | 'project_context'
  | 'mcp_tools_listed'
  | 'agent_stuck'
  | 'final_check'
  | 'context_compacted'
  | 'llm_usage'
  | 'run_ending'
  | 'run_summary'
> = {
  project_context: (record) => shown(IconFolderOpen, <Context record={record} />),
  mcp_tools_listed: (record) => {
    const { problem, changes, stops } = record.payload
    const isFine = problem === undefined && changes === undefined
    const tone = stops !== undefined ? 'failed' : isFine ? 'plain' : 'human'
    return shown(IconPlugConnected, <Listing record={record} />, tone)
  },
  agent_stuck: ({ payload: { action, message } }) =>
    plain(IconRotate2, `${STUCK[action]}: ${message}`, 'human'),
  final_check: ({ payload: { reason, rejected } }) =>
    plain(IconShieldCheck, `Final check: ${reason}`, rejected === null ? 'plain' : 'failed'),
  context_compacted: (record) => {
    const tone = record.payload.failure === undefined ? 'plain' : 'human'
    return shown(IconFold, <Compacted record={record} />, tone)
  },
  llm_usage: ({ payload: { purpose, input_tokens, output_tokens, cost_usd } }) => {
    const cost = cost_usd === null ? '' : `, ${formatCost(cost_usd)}`
    const sizes = `${counted(input_tokens, 'token')} in, ${formatCount(output_tokens)} out`
    return plain(IconSparkles, `${REQUESTS[purpose ?? 'reply']}: ${sizes}${cost}`)
  },
  run_ending: ({ payload: { reason } }) =>
    plain(IconAlertTriangle, `The run ends. ${inWords(reason)}`),
  run_summary: ({ payload: { text, source, failure } }) => {
    const by = source === 'model' ? 'by its model' : 'from the log'
    const why = failure === undefined ? '' : `: ${visible(failure)}`
    return lineAnd(IconFileText, `Summary of the run, ${by}${why}`, text, 'human')
  },
}

const REQUESTS = {
  reply: 'A reply of the model could not be used',
  compaction: 'The model was asked to summarize its first turns',
  summary: 'The model was asked to summarize its work',
} as const

function Context({ record: { seq, payload } }: PropsOf<'project_context'>) {
  const { documents, files, git, programs, ignored_keys: ignored = [] } = payload
  const parts = [
    ...documents.map(({ path, text }) => `# ${path}\n${text}`),
    ...[files, git, programs].filter((text) => text !== null),
  ]
  const names = documents.map(({ path }) => path).join(', ')
  return (
    <>
      <p className={classes.line}>
        The agent was shown its project{names === '' ? '' : `, with ${visible(names)}`}
      </p>
      {ignored.length > 0 && (
        <p className={classes.line}>
          In .retrai.yml, {visible(ignored.join(', '))} {ignored.length === 1 ? 'has' : 'have'} no
          effect
        </p>
      )}
      <More name={`context ${seq}`} label="What it was shown" text={parts.join('\n\n')} />
    </>
  )
}

function Compacted({ record: { seq, payload } }: PropsOf<'context_compacted'>) {
  const { turns, outputs_only = false, summary, failure, tokens_before, tokens_after } = payload
  const sizes = `${counted(tokens_before, 'token')} before, ${formatCount(tokens_after)} after`
  return (
    <>
      <p className={classes.line}>
        The conversation leaves out {outputs_only && 'the outputs of '}
        {turns === 1 ? 'the first turn' : `the first ${formatCount(turns)} turns`} from here:{' '}
        {sizes}.{failure !== undefined && ` There is no summary: ${visible(failure)}`}
      </p>
      {summary !== null && <More name={`compacted ${seq}`} label="Summary" text={summary} />}
    </>
  )
}

const STUCK = {
  hint: 'A hint for the agent',
  reflection: 'The agent was asked for another approach',
  end: 'The agent is stuck',
} as const

/** The tools that an MCP server has listed. Its words are shown as they are, and may lie. */
function Listing({ record: { seq, payload } }: PropsOf<'mcp_tools_listed'>) {
  const { server, tools, left_out = [], problem, changes, stops } = payload
  const name = `mcp ${seq}`
  return (
    <>
      <p className={classes.line}>
        MCP server <b>{server}</b> {identityOf(payload)}
        {problem === undefined ? `: ${counted(tools.length, 'tool')}` : ' cannot be used'}
      </p>
      {problem !== undefined && <q className={classes.said}>{visible(problem)}</q>}
      {changes !== undefined && <p className={classes.line}>{visible(textOf(changes))}</p>}
      {stops !== undefined && problem === undefined && (
        <p className={classes.line}>{visible(stops)}</p>
      )}
      {tools.length > 0 && (
        <More
          name={name}
          label="Tools, in the words of the server, which nobody has checked"
          text={tools.map(toolText).join('\n\n')}
        />
      )}
      {left_out.length > 0 && (
        <More
          name={`${name} left out`}
          label={`${counted(left_out.length, 'tool')} left out`}
          text={left_out.map(({ tool, reason }) => visible(`${tool}: ${reason}`)).join('\n')}
        />
      )}
    </>
  )
}

function identityOf(listed: Listed) {
  const { transport, server_name, server_version, protocol_version } = listed
  const facts = [
    ...(server_name === undefined ? [] : [`${server_name} ${server_version ?? ''}`.trim()]),
    transport,
    ...(protocol_version === undefined ? [] : [`protocol ${protocol_version}`]),
  ]
  return visible(`(${facts.join(', ')})`)
}

const textOf = (changes: NonNullable<Listed['changes']>): string =>
  Object.entries(changes)
    .filter(([, names]) => names.length > 0)
    .map(([how, names]) => `${how}: ${names.join(', ')}`)
    .join('; ')

const toolText = ({ name, read_only, sha256, ...words }: Listed['tools'][number]) =>
  [
    `${name}${read_only ? ' (only reads)' : ''}`,
    `SHA-256 ${sha256}`,
    visible(words.description),
    visible(JSON.stringify(words.input_schema)),
  ].join('\n')
