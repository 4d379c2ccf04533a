import {
  IconAlertTriangle,
  IconFileText,
  IconFold,
  IconFolderOpen,
  IconRotate2,
  IconSparkles,
} from '@tabler/icons-react'
import type { Note } from '../run/rows.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatCost, formatCount } from '../ui/format.ts'
import { toolsNoteOf } from './mcp-note.tsx'
import { lineAnd, More, plain, type Shown, SIZE } from './note-parts.tsx'
import classes from './rows.module.css'

type AgentNote = Extract<
  Note,
  {
    readonly kind:
      | 'project_context'
      | 'mcp_tools_listed'
      | 'agent_stuck'
      | 'context_compacted'
      | 'llm_usage'
      | 'run_ending'
      | 'run_summary'
  }
>

/** What is recorded about the work of the agent, apart from its replies and calls. */
export function agentNoteOf(record: AgentNote): Shown {
  switch (record.kind) {
    case 'project_context': {
      const { documents, files, git, programs, ignored_keys: ignored = [] } = record.payload
      const parts = [
        ...documents.map(({ path, text }) => `# ${path}\n${text}`),
        ...[files, git, programs].filter((text) => text !== null),
      ]
      const names = documents.map(({ path }) => path).join(', ')
      return {
        icon: <IconFolderOpen {...SIZE} />,
        tone: 'plain',
        content: (
          <>
            <p className={classes.line}>
              The agent was shown its project{names === '' ? '' : `, with ${visible(names)}`}
            </p>
            {ignored.length > 0 && (
              <p className={classes.line}>
                In .retrai.yml, {visible(ignored.join(', '))}{' '}
                {ignored.length === 1 ? 'has' : 'have'} no effect
              </p>
            )}
            <More
              name={`context ${record.seq}`}
              label="What it was shown"
              text={parts.join('\n\n')}
            />
          </>
        ),
      }
    }
    case 'mcp_tools_listed':
      return toolsNoteOf(record)
    case 'agent_stuck': {
      const { action, message } = record.payload
      return { ...plain(<IconRotate2 {...SIZE} />, `${STUCK[action]}: ${message}`), tone: 'human' }
    }
    case 'context_compacted':
      return {
        icon: <IconFold {...SIZE} />,
        tone: record.payload.summary === null ? 'human' : 'plain',
        content: <Compacted record={record} />,
      }
    case 'llm_usage': {
      const { purpose, input_tokens, output_tokens, cost_usd } = record.payload
      const cost = cost_usd === null ? '' : `, ${formatCost(cost_usd)}`
      const what = purpose === 'summary' ? 'its work' : 'its first turns'
      const told = `The model was asked to summarize ${what}: ${formatCount(input_tokens)} tokens in, ${formatCount(output_tokens)} out${cost}`
      return plain(<IconSparkles {...SIZE} />, told)
    }
    case 'run_ending':
      return plain(<IconAlertTriangle {...SIZE} />, `The run ends. ${record.payload.reason}`)
    case 'run_summary': {
      const { text, source, failure } = record.payload
      const by = source === 'model' ? 'by its model' : 'from the log'
      const line = `Summary of the run, ${by}${failure === undefined ? '' : `: ${visible(failure)}`}`
      return { ...lineAnd(<IconFileText {...SIZE} />, line, text), tone: 'human' }
    }
  }
}

function Compacted({
  record: { seq, payload },
}: {
  readonly record: Extract<Note, { readonly kind: 'context_compacted' }>
}) {
  const { turns, summary, failure, tokens_before, tokens_after } = payload
  const sizes = `${formatCount(tokens_before)} tokens before, ${formatCount(tokens_after)} after`
  return (
    <>
      <p className={classes.line}>
        The first {formatCount(turns)} turns are left out of the conversation from here: {sizes}.
        {summary === null && ` There is no summary: ${visible(failure ?? '')}`}
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
