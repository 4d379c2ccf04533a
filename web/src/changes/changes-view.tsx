import { NativeSelect } from '@mantine/core'
import { useThrottledValue } from '@mantine/hooks'
import { useMemo, useState } from 'react'
import { messageOf } from '../api/problem.ts'
import type { RunView } from '../run/run-view.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatBytes, formatCount } from '../ui/format.ts'
import { betweenOf, iterationsAt, type LeftOutChange, type Scope } from './between.ts'
import { CarryActions } from './carry-actions.tsx'
import classes from './changes-view.module.css'
import { FileChangeView } from './file-change.tsx'
import { FileTree } from './file-tree.tsx'
import { summaryOf, useChanges } from './use-changes.ts'

/** A replay that plays, and keys that are held, ask only so often, milliseconds. */
const PACE_MS = 300

type Props = {
  readonly id: string
  readonly runId: string
  readonly view: RunView
  readonly moment: number
  readonly scope: Scope
  readonly onScope: (scope: Scope) => void
}

/** What happened to the files of the project up to a moment: since the beginning, or in an iteration. */
export function ChangesView({ id, runId, view, moment, scope, onScope }: Props) {
  const { from = null, to = null } = betweenOf(view, moment, scope) ?? {}
  const now = useMemo(() => (from === null || to === null ? null : { from, to }), [from, to])
  const between = useThrottledValue(now, PACE_MS)
  const { data, error, leftOut, isOld } = useChanges(runId, view, between)
  const [chosen, choose] = useState<string>()
  const asked = useThrottledValue(chosen, PACE_MS)
  const files = data?.files ?? []
  const pathOf = (wanted?: string) => (files.find(({ path }) => path === wanted) ?? files[0])?.path
  const path = pathOf(asked)
  const iterations = iterationsAt(view, moment)
  return (
    <section id={id} className={classes.view} aria-label="Changes" aria-busy={isOld}>
      <div className={classes.head}>
        <NativeSelect
          aria-label="Which changes"
          size="xs"
          value={String(scope === 'run' ? scope : Math.min(scope, iterations) || 'run')}
          data={[
            { value: 'run', label: 'Since the beginning' },
            ...Array.from({ length: iterations }, (_, index) => ({
              value: String(index + 1),
              label: `Iteration ${formatCount(index + 1)}`,
            })),
          ]}
          onChange={({ currentTarget: { value } }) =>
            onScope(value === 'run' ? value : Number(value))
          }
        />
        <span role="status">
          {between === null && 'There is no snapshot of the files yet.'}
          {data !== undefined && `${summaryOf(data, leftOut)}.`}
        </span>
        <CarryActions {...{ runId, view }} at={to} isLast={to === view.filesAt.at(-1)} />
        {data !== undefined && (
          <span className={classes.seqs}>
            Snapshots {formatCount(data.from.seq)} and {formatCount(data.to.seq)}
          </span>
        )}
      </div>
      {error !== null && <p role="alert">{messageOf(error)}</p>}
      {data !== undefined && (
        <div className={classes.parts}>
          <div className={classes.list}>
            {files.length > 0 && (
              <FileTree files={files} selected={pathOf(chosen)} onSelect={choose} />
            )}
            {data.unknown.map((folder) => (
              <p key={folder} className={classes.said}>
                What changed in {folder === '' ? 'the project' : visible(folder)} is not known: its
                objects were not kept.
              </p>
            ))}
            <LeftOut all={leftOut} />
          </div>
          {path !== undefined && (
            <FileChangeView
              key={path}
              runId={runId}
              between={{ from: data.from.seq, to: data.to.seq }}
              path={path}
              changes={files.filter((file) => file.path === path)}
            />
          )}
        </div>
      )}
    </section>
  )
}

const REASONS: Readonly<Record<LeftOutChange['entry']['why'], string>> = {
  ignored: 'ignored',
  repository: 'a repository of its own',
  device: 'a device',
  socket: 'a socket',
  large: 'too large',
  secret: 'its name says that it holds a secret',
  unreadable: 'could not be read',
  limit: 'beyond the limit of files',
}
const CHANGES = { new: 'new', changed: 'changed', gone: 'gone, or among the files now' } as const

/** What snapshots do not have: what has changed of it, and the rest on request. */
function LeftOut({ all }: { readonly all: readonly LeftOutChange[] }) {
  const [rest = [], changed = []] = [true, false].map((isSame) =>
    all.filter(({ change }) => (change === null) === isSame),
  )
  if (all.length === 0) return null
  return (
    <>
      <h2 className={classes.title}>Left out of snapshots</h2>
      <Entries of={changed} />
      {rest.length > 0 && (
        <details>
          <summary>{formatCount(rest.length)} of which no change is known</summary>
          <Entries of={rest} />
        </details>
      )}
    </>
  )
}

const Entries = ({ of }: { readonly of: readonly LeftOutChange[] }) => (
  <ul className={classes.leftOut}>
    {of.map(({ entry: { path, why, size }, change }) => (
      <li key={path}>
        <b>{visible(path)}</b>{' '}
        {[
          ...(change === null ? [] : [CHANGES[change]]),
          REASONS[why],
          ...(size === undefined ? [] : [formatBytes(size)]),
        ].join(', ')}
      </li>
    ))}
  </ul>
)
