import { IconPlugConnected } from '@tabler/icons-react'
import type { SeqRecordOf } from '../run/seq-record.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted } from '../ui/format.ts'
import { More, type Shown, SIZE } from './note-parts.tsx'
import classes from './rows.module.css'

type Listed = SeqRecordOf<'mcp_tools_listed'>

/** The tools that an MCP server has listed. Its words are shown as they are, and may lie. */
export function toolsNoteOf(record: Listed): Shown {
  const { problem, changes, stops } = record.payload
  const isFine = problem === undefined && changes === undefined
  return {
    icon: <IconPlugConnected {...SIZE} />,
    tone: stops !== undefined ? 'failed' : isFine ? 'plain' : 'human',
    content: <Listing record={record} />,
  }
}

function Listing({ record: { seq, payload } }: { readonly record: Listed }) {
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

function identityOf({
  transport,
  server_name,
  server_version,
  protocol_version,
}: Listed['payload']) {
  const facts = [
    ...(server_name === undefined ? [] : [`${server_name} ${server_version ?? ''}`.trim()]),
    transport,
    ...(protocol_version === undefined ? [] : [`protocol ${protocol_version}`]),
  ]
  return visible(`(${facts.join(', ')})`)
}

const textOf = (changes: NonNullable<Listed['payload']['changes']>): string =>
  Object.entries(changes)
    .filter(([, names]) => names.length > 0)
    .map(([how, names]) => `${how}: ${names.join(', ')}`)
    .join('; ')

const toolText = ({
  name,
  description,
  read_only,
  sha256,
  input_schema,
}: Listed['payload']['tools'][number]) =>
  [
    `${name}${read_only ? ' (only reads)' : ''}`,
    `SHA-256 ${sha256}`,
    visible(description),
    visible(JSON.stringify(input_schema)),
  ].join('\n')
