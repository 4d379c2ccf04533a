import { Button, SegmentedControl, Stack, Textarea } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import type { CarriedFiles } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { save } from '../api/files.ts'
import { answerOf, messageOf } from '../api/problem.ts'
import { useMayNot } from '../api/use-may.ts'
import { seenIn } from '../run/answers.ts'
import type { RunView } from '../run/run-view.ts'
import { bound } from '../ui/field.ts'
import { visible } from '../ui/foreign-text.ts'
import { FormDialog } from '../ui/form-dialog.tsx'
import classes from './changes-view.module.css'

type Props = {
  readonly runId: string
  readonly view: RunView
  /** The snapshot that is shown, and whether it is the last one. */
  readonly at: number | null
  readonly isLast: boolean
}
type Open = 'rollback' | 'apply' | 'discard'
type As = 'files' | 'patch' | 'branch'

/** What a person can do with what a run did to files, while nobody works on it. */
export function CarryActions({ runId, view, at, isLast }: Props) {
  const [open, setOpen] = useState<Open | null>(null)
  const mayNot = useMayNot('runs:create')
  const { phase, copy, parent } = view.state ?? {}
  const isOver = phase?.type === 'ended'
  const rests = ['ended', 'awaiting_human', 'awaiting_approval', 'paused'].includes(
    phase?.type ?? '',
  )
  if (!rests || at === null || parent !== undefined) return null
  const button = (what: Open, label: string, isShown: boolean): ReactNode =>
    isShown && (
      <Button
        size="compact-xs"
        variant="default"
        disabled={mayNot !== null}
        onClick={() => setOpen(what)}
      >
        {label}
      </Button>
    )
  const given = { runId, view, at, onClose: () => setOpen(null) }
  return (
    <>
      {button('rollback', 'Roll back to here', !isLast && copy?.is !== 'discarded')}
      {button('apply', 'Apply', copy !== undefined)}
      {button('discard', 'Discard the copy', copy?.is === 'made' && isOver)}
      {open !== null && <CarryDialog what={open} {...given} />}
    </>
  )
}

const TITLES = {
  rollback: 'Roll the files back to this snapshot?',
  apply: 'Apply what the run did in its copy',
  discard: 'Discard the copy of this run?',
} as const
const HOW = [
  { value: 'files', label: 'Onto the folder' },
  { value: 'patch', label: 'As a patch' },
  { value: 'branch', label: 'As a branch' },
]

type DialogProps = Pick<Props, 'runId' | 'view'> & {
  readonly what: Open
  readonly at: number
  readonly onClose: () => void
}

/** Shows what will be written before it is. */
function CarryDialog({ what, runId, view, at, onClose }: DialogProps) {
  const [as, setAs] = useState<As>('files')
  const [reason, setReason] = useState('')
  const queries = useQueryClient()
  const send = async (dry_run: boolean): Promise<CarriedFiles | null> => {
    const { runs } = client()
    const why = { reason: reason.trim() || null, seen: dry_run ? null : seenIn(view) }
    if (what === 'rollback') return answerOf(runs.rollback(runId, { to: at, dry_run, ...why }))
    if (what === 'apply') return answerOf(runs.apply(runId, { as, dry_run, ...why }))
    if (!dry_run) await answerOf(runs.discard(runId, why))
    return null
  }
  const look = useQuery({
    queryKey: ['carry', runId, what, at, as],
    queryFn: () => send(true),
    gcTime: 0,
    retry: false,
  })
  const sending = useMutation({
    mutationFn: () => send(false),
    onSuccess: (done) => {
      if (done?.patch !== undefined) save(new Blob([done.patch]), `${runId}.patch`)
      void queries.invalidateQueries({ predicate: ({ queryKey }) => queryKey[1] === runId })
      onClose()
    },
  })
  const isRefused = look.data?.files.some(({ conflict }) => conflict !== undefined) ?? false
  return (
    <FormDialog
      title={TITLES[what]}
      size="lg"
      onClose={onClose}
      sending={sending}
      labels={{
        send: what === 'discard' ? 'Discard it' : what === 'apply' ? 'Apply' : 'Roll back',
      }}
      isGrave={what !== 'apply'}
      disabled={look.isPending || look.isError || isRefused}
    >
      {what === 'apply' && (
        <SegmentedControl
          aria-label="How"
          data={HOW}
          value={as}
          onChange={(value) => setAs(value as As)}
        />
      )}
      {look.isError && <p role="alert">{messageOf(look.error)}</p>}
      {what === 'discard' && (
        <p>What its snapshots hold can still be applied. All else in it is lost.</p>
      )}
      {look.data && <Preview all={look.data} />}
      <Textarea
        label="Reason"
        description="Optional. It is recorded in the log."
        autosize
        {...bound(reason, setReason)}
      />
    </FormDialog>
  )
}

const WORDS = { write: 'written', delete: 'deleted', mode: 'executable or not' } as const

function Preview({ all: { files, not_carried } }: { readonly all: CarriedFiles }) {
  return (
    <Stack gap="xs" data-testid="carry-preview">
      {files.length === 0 && <p>Nothing is to be written.</p>}
      <ul className={classes.leftOut}>
        {files.map(({ path, action, conflict }) => (
          <li key={path}>
            <b>{visible(path)}</b>{' '}
            {conflict === undefined ? WORDS[action] : `in conflict: ${conflict}`}
          </li>
        ))}
      </ul>
      {not_carried.length > 0 && <p>Left as it is: {visible(not_carried.join(', '))}</p>}
    </Stack>
  )
}
