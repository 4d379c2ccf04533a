import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { save } from '../api/files.ts'
import { messageOf } from '../api/problem.ts'
import { fileQuery, patchQuery } from '../api/queries.ts'
import { languageOf } from '../code/languages.ts'
import { visible } from '../ui/foreign-text.ts'
import { baseName, formatBytes } from '../ui/format.ts'
import type { Between } from './between.ts'
import classes from './changes-view.module.css'
import { type FileChange, Marks } from './file-tree.tsx'
import { fileLines } from './hunk-lines.ts'
import { NumberedLines } from './numbered-lines.tsx'

type Props = {
  readonly runId: string
  readonly between: Between
  readonly path: string
  /** Two if a file became a link, or a link a file; otherwise one. */
  readonly changes: readonly FileChange[]
}

/** What happened to one file: its hunks, or all of it. */
export function FileChangeView({ runId, between, path, changes }: Props) {
  const [isWhole, setWhole] = useState(false)
  const isGone = changes.every(({ status }) => status === 'deleted')
  const file = fileQuery(runId, path, isGone ? between.from : between.to)
  const queries = useQueryClient()
  const download = useMutation({
    mutationFn: () => queries.ensureQueryData(file),
    onSuccess: (content) => save(new Blob([content]), baseName(path)),
  })
  const isKept = changes.some(({ withheld }) => withheld !== 'not_kept')
  return (
    <section className={classes.file} aria-label={visible(path)}>
      <div className={classes.fileHead}>
        <h2 className={classes.path}>{visible(path)}</h2>
        {changes.map((change) => (
          <Marks key={change.status} file={change} />
        ))}
        {isKept && (
          <span className={classes.actions}>
            <button
              type="button"
              className={classes.link}
              aria-pressed={isWhole}
              onClick={() => setWhole(!isWhole)}
            >
              Whole file{isGone && ' as it was'}
            </button>
            <button type="button" className={classes.link} onClick={() => download.mutate()}>
              Download
            </button>
          </span>
        )}
      </div>
      {download.isError && <Said role="alert" text={messageOf(download.error)} />}
      {changes.flatMap(saidOf).map((text) => (
        <Said key={text} text={text} />
      ))}
      {isWhole ? (
        <Whole file={file} path={path} />
      ) : (
        changes.some(hasLines) && <Hunks runId={runId} between={between} path={path} />
      )}
    </section>
  )
}

const hasLines = ({ additions, deletions }: FileChange): boolean => additions + deletions > 0

const KINDS = {
  100644: 'a plain file',
  100755: 'an executable file',
  120000: 'a symbolic link, to what its content says',
} as const

/** What the hunks of a file do not say. */
function saidOf(change: FileChange): string[] {
  const { status, old_path, old_mode, mode, binary, withheld, old_size, size } = change
  if (withheld === 'not_kept') {
    return ['Its content was not kept, was redacted, or is lost. Only that it changed is known.']
  }
  const kinds = [old_mode, mode].flatMap((each) => (each === undefined ? [] : KINDS[each]))
  const sizes = [old_size, size].flatMap((each) => (each === undefined ? [] : formatBytes(each)))
  const isNewOrGone = status === 'added' || status === 'deleted'
  return [
    ...(old_path === undefined ? [] : [`It was ${visible(old_path)}. Its content is the same.`]),
    ...(kinds.length === 0 ? [] : [`It is ${[...new Set(kinds)].reverse().join(', and was ')}.`]),
    ...(binary ? [`It is binary, or has too many lines to compare: ${sizes.join(', now ')}.`] : []),
    ...(isNewOrGone && !binary && !hasLines(change) ? ['It has no content.'] : []),
    ...(withheld === 'masked'
      ? ['It holds a secret, which is masked. A change of the secret alone is not shown.']
      : []),
  ]
}

function Said({ text, role }: { readonly text: string; readonly role?: 'alert' }) {
  return (
    <p className={classes.said} role={role}>
      {text}
    </p>
  )
}

function Hunks({ runId, between, path }: Omit<Props, 'changes'>) {
  const { data: lines, error } = useQuery(patchQuery(runId, between, path))
  if (error !== null) return <Said role="alert" text={messageOf(error)} />
  if (lines === undefined) return <Said text="Reading what changed" />
  return <NumberedLines lines={lines} language={languageOf(path)} />
}

/** A larger file is only offered as a download. */
const SHOWN_BYTES = 1_000_000

type WholeProps = { readonly file: ReturnType<typeof fileQuery>; readonly path: string }

function Whole({ file, path }: WholeProps) {
  const { data, error } = useQuery(file)
  const isShown = data !== undefined && data.length <= SHOWN_BYTES && !data.includes(0)
  const lines = useMemo(
    () => (isShown ? fileLines(new TextDecoder().decode(data)) : []),
    [isShown, data],
  )
  if (error !== null) return <Said role="alert" text={messageOf(error)} />
  if (data === undefined) return <Said text="Reading the file" />
  if (isShown) return <NumberedLines lines={lines} language={languageOf(path)} />
  return (
    <Said text={`It has ${formatBytes(data.length)}, and is too large or binary to be shown.`} />
  )
}
