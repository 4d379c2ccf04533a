import { IconSparkles, IconTarget } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import type { PartText } from '../../../src/client/index.ts'
import { partialObject } from '../run/partial-json.ts'
import { visible } from '../ui/foreign-text.ts'
import frame from './frame.module.css'
import classes from './rows.module.css'
import { WrittenOutput } from './tool-body.tsx'
import { ToolCard, ToolIcon } from './tool-row.tsx'
import { Words } from './words.tsx'

/**
 * The rows of what is being written, below the recorded ones. They have the places and the looks of the rows that
 * replace them: the reply, the step that acts, and its calls.
 */
export type LiveRow =
  | { readonly type: 'reply'; readonly text: PartText | null; readonly reasoning: PartText | null }
  | { readonly type: 'act' }
  | { readonly type: 'call'; readonly part: PartText }
  | { readonly type: 'check'; readonly part: PartText }

export function liveRowsOf(parts: readonly PartText[]): readonly LiveRow[] {
  const ofKind = (kind: PartText['of']) => parts.findLast(({ of }) => of === kind) ?? null
  const calls = parts.filter(({ of }) => of === 'arguments')
  const checks = parts.filter(({ of, call_id }) => of === 'output' && call_id === null)
  const [text, reasoning] = [ofKind('text'), ofKind('reasoning')]
  const isReply = text !== null || reasoning !== null || calls.length > 0
  return [
    ...(isReply
      ? [{ type: 'reply', text, reasoning: calls.length > 0 ? null : reasoning } as const]
      : []),
    ...(calls.length > 0 ? [{ type: 'act' } as const] : []),
    ...calls.map((part) => ({ type: 'call', part }) as const),
    ...checks.map((part) => ({ type: 'check', part }) as const),
  ]
}

/** What the calls that run have printed, by the id of the call. */
export function outputsOf(parts: readonly PartText[]): ReadonlyMap<string, PartText> {
  return new Map(
    parts.flatMap((part) => (typeof part.call_id === 'string' ? [[part.call_id, part]] : [])),
  )
}

export function LiveRowView({ row }: { readonly row: LiveRow }) {
  switch (row.type) {
    case 'reply':
      return <ReplyRow text={row.text} reasoning={row.reasoning} />
    case 'act':
      return (
        <div className={classes.step}>
          <span className={classes.stepName}>Act</span>
        </div>
      )
    case 'call':
      return <CallRow part={row.part} />
    case 'check':
      return (
        <LiveFrame icon={<IconTarget size={15} stroke={1.7} />}>
          <p className={classes.nothing}>The goal is being checked</p>
          <WrittenOutput part={row.part} />
        </LiveFrame>
      )
  }
}

/** The end of a summary of reasoning is enough, until there is something else to read. */
const REASONING_CHARS = 600

function ReplyRow({ text, reasoning }: Omit<Extract<LiveRow, { type: 'reply' }>, 'type'>) {
  return (
    <LiveFrame icon={<IconSparkles size={15} stroke={1.7} />}>
      {text !== null && text.text.trim() !== '' && (
        <Words text={`${text.lost > 0 ? '…' : ''}${text.text}`} />
      )}
      {text === null && reasoning !== null && (
        <p className={classes.nothing}>{visible(reasoning.text.slice(-REASONING_CHARS).trim())}</p>
      )}
      <div className={classes.facts}>
        <span>{text === null && reasoning !== null ? 'Thinking' : 'Being written'}</span>
      </div>
    </LiveFrame>
  )
}

/** Tools that change something: their calls are open at first. */
const CHANGING: ReadonlySet<string> = new Set([
  'apply_patch',
  'bash_exec',
  'file_delete',
  'file_patch',
  'file_rename',
  'file_write',
  'run_pytest',
  'process_start',
  'process_input',
  'process_stop',
])

function CallRow({ part: { key, tool = '', text, lost } }: { readonly part: PartText }) {
  // Without its beginning, JSON cannot be read.
  const args = lost > 0 ? {} : partialObject(text)
  return (
    <LiveFrame icon={<ToolIcon tool={tool} />}>
      <ToolCard
        name={key}
        asked={{ tool, args: args as Record<string, never> }}
        opened={CHANGING.has(tool)}
        outcome={
          <span className={classes.outcome} data-outcome="open">
            being written
          </span>
        }
      />
    </LiveFrame>
  )
}

/** The frame of a row that has no record yet. */
function LiveFrame({ icon, children }: { readonly icon: ReactNode; readonly children: ReactNode }) {
  return (
    <div className={frame.frame} data-tone="running" data-partial>
      <span className={frame.when} />
      <span className={frame.rail} aria-hidden>
        <span className={frame.icon}>{icon}</span>
      </span>
      <div className={frame.body}>{children}</div>
    </div>
  )
}
