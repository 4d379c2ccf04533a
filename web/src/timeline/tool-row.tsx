import {
  IconChevronRight,
  IconFileDiff,
  IconFileExport,
  IconFilePlus,
  IconFileText,
  IconFolder,
  IconGitBranch,
  type IconProps,
  IconSearch,
  IconTerminal2,
  IconTestPipe,
  IconTool,
  IconTrash,
} from '@tabler/icons-react'
import { type ComponentType, type ReactNode, use } from 'react'
import { useFold } from '../code/fold.tsx'
import type { RowOf } from '../run/rows.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatDuration } from '../ui/format.ts'
import { Frame } from './frame.tsx'
import { OutputContext } from './row-context.ts'
import classes from './rows.module.css'
import { Asked, type AskedCall, Output, WrittenOutput } from './tool-body.tsx'
import { gistOf } from './tool-gist.ts'

const ICONS: Readonly<Record<string, ComponentType<IconProps>>> = {
  file_patch: IconFileDiff,
  apply_patch: IconFileDiff,
  file_write: IconFilePlus,
  file_rename: IconFileExport,
  file_delete: IconTrash,
  file_read: IconFileText,
  file_list: IconFolder,
  bash_exec: IconTerminal2,
  process_start: IconTerminal2,
  process_read: IconTerminal2,
  process_input: IconTerminal2,
  process_stop: IconTerminal2,
  run_pytest: IconTestPipe,
  grep_search: IconSearch,
  find_files: IconSearch,
  git_status: IconGitBranch,
  git_diff: IconGitBranch,
  git_log: IconGitBranch,
}

type Props = {
  readonly row: RowOf<'tool'>
  readonly moment: number
  readonly working: boolean
}

/** A call and its result, which are shown together. */
export function ToolRow({ row: { call, end }, moment, working }: Props) {
  const result = end !== null && end.seq <= moment ? end : null
  const outcome = result?.payload.outcome ?? null
  const written = use(OutputContext).get(call.payload.call_id)
  const tone =
    outcome === null ? (working ? 'running' : 'plain') : outcome === 'ok' ? 'plain' : 'failed'
  // Calls that changed something or show an image are open at first; others that only read are folded.
  const opened =
    !call.payload.read_only ||
    (outcome !== null && outcome !== 'ok') ||
    result?.payload.image !== undefined
  return (
    <Frame
      records={result === null ? [call] : [call, result]}
      icon={<ToolIcon tool={call.payload.tool} />}
      tone={tone}
    >
      <ToolCard
        name={String(call.seq)}
        asked={call.payload}
        opened={opened}
        outcome={<Outcome result={result} working={working} />}
      >
        {result !== null && <Output call={call} result={result} />}
        {result === null && written !== undefined && <WrittenOutput part={written} />}
      </ToolCard>
    </Frame>
  )
}

export function ToolIcon({ tool }: { readonly tool: string }) {
  const Icon = ICONS[tool] ?? IconTool
  return <Icon size={15} stroke={1.7} />
}

type CardProps = {
  /** Distinguishes what a person unfolds. */
  readonly name: string
  readonly asked: AskedCall
  readonly opened: boolean
  readonly outcome: ReactNode
  /** The output. */
  readonly children?: ReactNode
}

/** The card of a call, recorded or being written. */
export function ToolCard({ name, asked, opened, outcome, children }: CardProps) {
  const [open, toggle] = useFold(`tool ${name}`, opened)
  return (
    <div className={classes.card}>
      <button type="button" className={classes.call} aria-expanded={open} onClick={toggle}>
        <IconChevronRight size={15} className={classes.chevron} data-open={open} aria-hidden />
        <span className={classes.tool}>{visible(asked.tool)}</span>
        <span className={classes.gist}>{visible(gistOf(asked.args))}</span>
        {outcome}
      </button>
      {open && (
        <div className={classes.toolBody}>
          <Asked name={name} call={asked} />
          {children}
        </div>
      )}
    </div>
  )
}

const OUTCOMES: Readonly<Record<Result['payload']['outcome'], string>> = {
  ok: 'ok',
  error: 'failed',
  rejected: 'rejected',
  denied: 'denied',
  not_isolated: 'refused: not isolated',
  timed_out: 'timed out',
  aborted: 'aborted',
  unknown: 'outcome unknown',
}

type Result = NonNullable<RowOf<'tool'>['end']>

/** The limits that end a command with the outcome `failed`: the other outcomes name what ended it. */
const LIMITS: ReadonlySet<Result['payload']['killed_by']> = new Set([
  'memory',
  'processes',
  'disk',
  'output',
])

type OutcomeProps = { readonly result: Result | null; readonly working: boolean }

function Outcome({ result, working }: OutcomeProps) {
  if (result === null) {
    return (
      <span className={classes.outcome} data-outcome="open">
        {working ? 'running' : 'no result'}
      </span>
    )
  }
  const { outcome, exit_code, duration_ms, killed_by } = result.payload
  return (
    <span className={classes.outcome} data-outcome={outcome}>
      {outcome !== 'ok' && <b>{OUTCOMES[outcome]}</b>}
      {killed_by !== undefined && LIMITS.has(killed_by) && <b>{killed_by} limit</b>}
      {exit_code !== null && exit_code !== 0 && <span>exit {exit_code}</span>}
      <span>{formatDuration(duration_ms / 1000)}</span>
    </span>
  )
}
