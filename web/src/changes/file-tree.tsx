import { Tree, useTree } from '@mantine/core'
import { IconChevronRight } from '@tabler/icons-react'
import { useMemo, useState } from 'react'
import type { RunChanges } from '../../../src/client/index.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatBytes, formatCount } from '../ui/format.ts'
import classes from './changes-view.module.css'
import { foldersIn, treeOf } from './tree.ts'

export type FileChange = RunChanges['files'][number]

/** Of more files, the folders are closed at first. */
const OPEN_AT_FIRST = 300

type Props = {
  readonly files: readonly FileChange[]
  /** The path of the file that is shown. */
  readonly selected: string | undefined
  readonly onSelect: (path: string) => void
}

/** The files that changed, in their folders. The file that has the focus is selected, so the arrow keys go from file to file. */
export function FileTree({ files, selected, onSelect }: Props) {
  const data = useMemo(() => treeOf(files.map(({ path }) => path)), [files])
  const byPath = useMemo(() => Map.groupBy(files, ({ path }) => path), [files])
  const folders = useMemo(() => foldersIn(data), [data])
  const isOpen = files.length <= OPEN_AT_FIRST
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set())
  const tree = useTree({
    expandedState: Object.fromEntries(folders.map((each) => [each, toggled.has(each) !== isOpen])),
    onExpandedStateChange: (state) =>
      setToggled(new Set(folders.filter((each) => state[each] !== isOpen))),
    selectedState: selected === undefined ? [] : [selected],
  })
  return (
    <Tree
      data={data}
      tree={tree}
      levelOffset={14}
      aria-label="Files that changed"
      onFocus={({ target }) => {
        const path = target.dataset.value ?? ''
        if (byPath.has(path)) onSelect(path)
      }}
      renderNode={({ node, expanded, hasChildren, elementProps }) => (
        <div {...elementProps} className={`${elementProps.className} ${classes.node}`}>
          {hasChildren && <IconChevronRight size={14} data-open={expanded} aria-hidden />}
          <span className={classes.name} title={visible(node.value)}>
            {visible(String(node.label))}
          </span>
          {byPath.get(node.value)?.map((file) => (
            <Marks key={file.status} file={file} />
          ))}
        </div>
      )}
    />
  )
}

const STATUSES: Readonly<Record<FileChange['status'], string>> = {
  added: 'new',
  modified: '',
  deleted: 'deleted',
  renamed: 'moved',
  mode: 'mode',
}

/** What happened to a file, in a few characters. */
export function Marks({ file }: { readonly file: FileChange }) {
  const { status, additions, deletions, binary, withheld, size, old_size } = file
  const words = [
    STATUSES[status],
    ...(binary ? [formatBytes(size ?? old_size ?? 0)] : []),
    ...(withheld === undefined ? [] : [withheld === 'masked' ? 'masked' : 'not kept']),
  ]
  return (
    <span className={classes.marks} data-status={status}>
      <span>{words.filter((word) => word !== '').join(', ')}</span>
      {additions > 0 && <span className={classes.added}>+{formatCount(additions)}</span>}
      {deletions > 0 && <span className={classes.removed}>−{formatCount(deletions)}</span>}
    </span>
  )
}
