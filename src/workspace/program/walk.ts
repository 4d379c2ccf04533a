import { type Dirent, readdirSync } from 'node:fs'
import { join } from 'node:path'
import picomatch from 'picomatch'
import type { Search } from '../protocol.ts'
import { enter, NO_RULES, rulesAbove, rulesText, rulesWithin, verdict } from './ignore-rules.ts'
import { isLink } from './paths.ts'

/** A search of the files below a folder, whose path leads through no link. */
export type Walk = {
  readonly folder: string
  readonly search: Search
  readonly glob: string
  /** How many files and folders could not be opened. */
  unopened: number
}

/** The files that match the glob, in order, as paths from the folder. */
export function* filesIn(walk: Walk): Generator<string> {
  const { hidden, ignored, grep } = walk.search
  const matches = matcherOf(walk.glob)
  const open = [{ at: '', rules: ignored ? NO_RULES : rulesAbove(walk.folder) }]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { at } = next
    const entries = entriesOf(join(walk.folder, at))
    if (entries === null) walk.unopened += 1
    enter(next.rules, at)
    const has = (name: string): boolean => entries?.some((entry) => entry.name === name) ?? false
    const text = has('.gitignore') ? rulesText(join(walk.folder, at, '.gitignore')) : null
    const below = (path: string): string => path.slice(at.length)
    const here = { at, text, isRepository: has('.git') }
    const rules = ignored ? NO_RULES : rulesWithin(next.rules, here, below)
    const folders: typeof open = []
    for (const entry of entries ?? []) {
      const { name } = entry
      const isFolder = entry.isDirectory()
      const path = at + name
      const said = verdict(rules, isFolder ? `${path}/` : path)
      const isInstalled = isFolder && name === 'node_modules' && !ignored
      if (name === '.git' || isInstalled || said === 'ignored') continue
      if (name.startsWith('.') && !hidden && said !== 'unignored') continue
      if (isFolder) folders.push({ at: `${path}/`, rules })
      else if ((grep === undefined || entry.isFile()) && matches(path)) yield path
    }
    open.push(...folders.reverse())
  }
}

/** Null if the folder cannot be read, was removed, or was replaced since its name was read. */
function entriesOf(folder: string): Dirent[] | null {
  try {
    if (isLink(folder)) return null
    const entries = readdirSync(folder, { withFileTypes: true })
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch {
    return null
  }
}

/** Parentheses are names of files, such as those of Next.js, except in a pattern like `@(a|b)`. */
function matcherOf(glob: string): (path: string) => boolean {
  const isExtended = /[?*+@!]\(/.test(glob)
  const literal = isExtended ? glob : glob.replace(/[()|]/g, '\\$&')
  return picomatch(literal.replaceAll('[!', '[^'), { dot: true })
}
