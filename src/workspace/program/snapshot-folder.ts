import { EMPTY_TREE, shownPath, type TreeEntry } from '../../lib/git-objects.ts'
import { enter, type Rules, verdict } from './ignore-rules.ts'
import type { State } from './snapshot-files.ts'

/** What a snapshot found at a name, as far as the next one may rely on it. */
type Known = {
  isFolder: boolean
  isIgnored: boolean
  /** That of the rules by which it is ignored, or not. */
  rulesKey: string
  /** The state in which the content of a file had this id or, if it is too large for the tree, this hash. */
  file?: { readonly state: State; readonly id: string; readonly entry: TreeEntry | null }
  folder?: KnownFolder
}

/** It is changed in place, because objects that are made for each file of each snapshot take half of its time. */
export class KnownFolder {
  readonly names = new Map<string, Known>()
  entries: readonly TreeEntry[] = []
  tree = { id: EMPTY_TREE, bytes: 0 }

  /** What is known of a name that is gone does no harm, but needs memory. */
  forgetAllBut(names: readonly string[]): void {
    if (this.names.size <= names.length) return
    const here = new Set(names)
    for (const name of this.names.keys()) if (!here.has(name)) this.names.delete(name)
  }

  hasEntries(entries: readonly TreeEntry[]): boolean {
    return (
      entries.length === this.entries.length &&
      entries.every(({ mode, name, id }, at) => {
        const known = this.entries[at]
        return id === known?.id && mode === known.mode && name === known.name
      })
    )
  }
}

/** A folder that is walked now. */
export type Level = {
  /** '' or a path from the project that ends with a slash, as bytes, and as text for the rules. */
  readonly bytes: string
  readonly shown: string
  readonly rules: Rules
  readonly known: KnownFolder
  isEntered: boolean
}

/** Rules are only matched with a name if it is new, or if they are. */
export function isIgnored(level: Level, name: string, isFolder: boolean): boolean {
  if (isFolder && name === 'node_modules') return true
  const { rules, known, shown } = level
  const before = known.names.get(name)
  const rulesKey = rules.key
  if (before?.isFolder === isFolder && before.rulesKey === rulesKey) return before.isIgnored
  if (!level.isEntered) enter(rules, shown)
  level.isEntered = true
  const path = `${shown}${shownPath(name)}${isFolder ? '/' : ''}`
  const isIgnored = verdict(rules, path) === 'ignored'
  if (before) Object.assign(before, { isFolder, isIgnored, rulesKey })
  else known.names.set(name, { isFolder, isIgnored, rulesKey })
  return isIgnored
}
