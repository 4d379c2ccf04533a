import { ActionIcon, Select, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { IconChevronDown, IconChevronUp } from '@tabler/icons-react'
import { type KeyboardEvent, useEffect, useRef, useState } from 'react'
import { messageOf } from '../api/problem.ts'
import type { RunView } from '../run/run-view.ts'
import { bound } from '../ui/field.ts'
import { formatCount } from '../ui/format.ts'
import { useShortcuts } from '../ui/use-shortcuts.ts'
import { GROUPS, type Group, Snippet, useSearch } from './found.tsx'
import classes from './search.module.css'

const TYPING_MS = 250
/** More than so many are not counted. */
const MOST = 1000

const WHERE = [
  { value: 'all', label: 'Everywhere' },
  { value: 'said', label: 'Said' },
  { value: 'called', label: 'Called' },
  { value: 'printed', label: 'Printed' },
  { value: 'failed', label: 'Printed by failed calls' },
  { value: 'changed', label: 'Changed files' },
  { value: 'checked', label: 'Checks' },
] as const satisfies readonly { value: Group | 'all' | 'failed'; label: string }[]
type Where = (typeof WHERE)[number]['value']

type Props = {
  readonly runId: string
  readonly view: RunView
  /** The record that is shown; null follows the newest. */
  readonly at: number | null
  readonly onSeek: (seq: number) => void
}

/** Finds words in a run, and leads from one record with them to the next. */
export function FindInRun({ runId, view, at, onSeek }: Props) {
  const input = useRef<HTMLInputElement>(null)
  const [typed, setTyped] = useState('')
  const [where, setWhere] = useState<Where>('all')
  const [q] = useDebouncedValue(typed, TYPING_MS)
  const group = where === 'failed' ? 'printed' : where
  const kinds = group === 'all' ? undefined : GROUPS[group]
  const { results, error, isFetching, hasNextPage, behind, fetchNextPage } = useSearch(
    q,
    runId,
    kinds,
  )
  useShortcuts([['/', () => input.current?.focus()]])
  useEffect(() => {
    if (hasNextPage && !isFetching && results.length < MOST) void fetchNextPage()
  }, [hasNextPage, isFetching, results.length, fetchNextPage])
  const found = where === 'failed' ? results.filter(({ seq }) => isFailure(view, seq)) : results
  const index = found.findIndex(({ seq }) => seq === at)
  const go = (step: 1 | -1): void => {
    const here = at ?? -1
    const next =
      step === 1
        ? (found.find(({ seq }) => seq > here) ?? found[0])
        : (found.findLast(({ seq }) => seq < here) ?? found.at(-1))
    if (next !== undefined) onSeek(next.seq)
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Enter') go(event.shiftKey ? -1 : 1)
    if (event.key === 'Escape') setTyped('')
  }
  const first = view.records.findIndex((_, seq) => isFailure(view, seq))
  const isAsked = q.trim() !== ''
  const isPart = isFetching || hasNextPage || behind > 0
  const count = `${formatCount(found.length)}${isPart ? '+' : ''}`
  const place = index === -1 ? `${count} found` : `${formatCount(index + 1)} of ${count}`
  return (
    <search className={classes.find}>
      {isAsked && (
        <span className={classes.count} role="status">
          {error === null ? place : messageOf(error)}
        </span>
      )}
      <TextInput
        ref={input}
        type="search"
        size="xs"
        aria-label="Find in this run"
        placeholder="Find in this run"
        {...bound(typed, setTyped)}
        onKeyDown={onKeyDown}
      />
      {isAsked && (
        <>
          <Select
            size="xs"
            w={130}
            aria-label="Where to find it"
            data={WHERE}
            value={where}
            onChange={(value) =>
              setWhere(WHERE.find((each) => each.value === value)?.value ?? 'all')
            }
          />
          <Step label="Previous match" icon={IconChevronUp} onClick={() => go(-1)} />
          <Step label="Next match" icon={IconChevronDown} onClick={() => go(1)} />
        </>
      )}
      {first !== -1 && (
        <button type="button" className={classes.first} onClick={() => onSeek(first)}>
          First error
        </button>
      )}
      {index !== -1 && found[index] !== undefined && (
        <p className={classes.here}>
          <Snippet {...found[index].snippet} />
        </p>
      )}
    </search>
  )
}

type StepProps = {
  readonly label: string
  readonly icon: typeof IconChevronUp
  readonly onClick: () => void
}

const Step = ({ label, icon: Icon, onClick }: StepProps) => (
  <ActionIcon variant="subtle" size="md" aria-label={label} onClick={onClick}>
    <Icon size={17} />
  </ActionIcon>
)

/** Whether a record says that something went wrong. */
function isFailure({ records }: RunView, seq: number): boolean {
  const record = records[seq]
  if (record?.kind === 'tool_result') return record.payload.outcome !== 'ok'
  return record?.kind === 'error'
}
