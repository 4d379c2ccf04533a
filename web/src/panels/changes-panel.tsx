import { useMemo, useState } from 'react'
import type { RunView } from '../run/run-view.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted } from '../ui/format.ts'
import { changesIn, changesUpTo, type FileChange } from './changes.ts'
import classes from './changes-panel.module.css'
import { Panel } from './panel.tsx'

/** More files are shown on request. */
const SHORT = 8

type Props = {
  readonly view: RunView
  readonly moment: number
  readonly onSeek: (seq: number) => void
}

/** What the agent changed, as far as the records name it, and which of its calls failed. */
export function ChangesPanel({ view, moment, onSeek }: Props) {
  const log = useMemo(() => changesIn(view), [view])
  const changes = useMemo(() => changesUpTo(log, moment), [log, moment])
  const [isWhole, setWhole] = useState(false)
  const { files } = changes
  const isOver = view.state?.phase.type === 'ended' && moment >= view.records.length - 1
  const shown = isWhole ? files : files.slice(0, SHORT)
  return (
    <Panel title="Changes" aside={files.length === 0 ? undefined : counted(files.length, 'file')}>
      {files.length === 0 && (
        <p className={classes.none}>No tool has changed a file{!isOver && ' yet'}.</p>
      )}
      <ul className={classes.files}>
        {shown.map((file) => (
          <File key={file.path} file={file} onSeek={onSeek} />
        ))}
      </ul>
      {files.length > SHORT && (
        <button type="button" className={classes.more} onClick={() => setWhole(!isWhole)}>
          {isWhole ? 'Show fewer' : `Show all ${counted(files.length, 'file')}`}
        </button>
      )}
      <Others changes={changes} moment={moment} onSeek={onSeek} />
    </Panel>
  )
}

type FileProps = {
  readonly file: FileChange
  readonly onSeek: (seq: number) => void
}

/** A file that was changed; it leads to its last change. */
function File({ file, onSeek }: FileProps) {
  const { path, changed, count, last } = file
  const shown = visible(path)
  return (
    <li>
      <button
        type="button"
        className={classes.file}
        title={`${shown}: go to its last change`}
        onClick={() => onSeek(last)}
      >
        {/* Where there is no room for all of a path, its end says more. */}
        <span className={classes.path}>
          <bdi>{shown}</bdi>
        </span>
        <span className={classes.count}>
          {changed === 'unknown' ? 'perhaps' : counted(count, 'change')}
        </span>
      </button>
    </li>
  )
}

type OthersProps = {
  readonly changes: ReturnType<typeof changesUpTo>
  readonly moment: number
  readonly onSeek: (seq: number) => void
}

/** The commands, whose changes the records do not name, and the calls that failed. */
function Others({ changes: { commands, failed }, moment, onSeek }: OthersProps) {
  if (commands === 0 && failed.length === 0) return null
  const before = failed.findLast((seq) => seq < moment) ?? failed.at(-1)
  return (
    <p className={classes.others}>
      {commands > 0 && (
        <span title="The records do not name the files that commands change">
          {counted(commands, 'command')} may have changed more
        </span>
      )}
      {before !== undefined && (
        <button
          type="button"
          className={classes.failed}
          title="Go to the one before this moment"
          onClick={() => onSeek(before)}
        >
          {counted(failed.length, 'failed call')}
        </button>
      )}
    </p>
  )
}
