import { type Dirent, existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, matchesGlob, relative } from 'node:path'
import type { LeftOut } from '../answers.ts'
import type { RuleTexts, Search } from '../questions.ts'
import { textOrNull } from './files.ts'
import { enter, type Rules, rulesWithin, verdict } from './ignore-rules.ts'
import { isLink, ROOT } from './paths.ts'

/** A larger file of rules is not obeyed, because its rules are matched with every path. */
const MAX_RULES_BYTES = 64 * 1024

/** The files below a folder that a search looks at. Counts what it leaves out. */
export class Walk {
  readonly left: LeftOut = { ignored: 0, hidden: 0, tooLarge: 0, unopened: 0 }
  readonly #folder: string
  readonly #search: Search

  /** @param folder where it begins, through no link */
  constructor(folder: string, search: Search) {
    this.#folder = folder
    this.#search = search
  }

  /** The files that match the glob, in order, as paths from the folder. */
  *files(): Generator<string> {
    for (const path of this.#all()) if (matches(path, this.#search.glob)) yield path
  }

  *#all(): Generator<string> {
    const open = [{ folder: '', rules: this.#rulesAbove() }]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const { folder } = next
      const entries = this.#entriesOf(folder)
      enter(next.rules, folder)
      const rules = this.#search.ignored
        ? []
        : rulesWithin(next.rules, this.#textsIn(folder, namesOf(entries)), (path) =>
            path.slice(folder.length),
          )
      const folders: typeof open = []
      for (const entry of entries) {
        const path = folder + entry.name
        if (!this.#isSearched(path, entry, rules)) continue
        if (entry.isDirectory()) folders.push({ folder: `${path}/`, rules })
        else if (this.#search.grep === undefined || entry.isFile()) yield path
      }
      open.push(...folders.reverse())
    }
  }

  #entriesOf(folder: string): Dirent[] {
    const path = join(this.#folder, folder)
    try {
      // It may have been replaced since its name was read.
      if (!isLink(path)) {
        const entries = readdirSync(path, { withFileTypes: true })
        return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
      }
    } catch {
      // It cannot be read, or was removed meanwhile.
    }
    this.left.unopened += 1
    return []
  }

  #isSearched(path: string, entry: Dirent, rules: Rules): boolean {
    if (entry.name === '.git') return false
    const { hidden, ignored } = this.#search
    const said = verdict(rules, entry.isDirectory() ? `${path}/` : path)
    if (said === 'ignored' || (!ignored && entry.isDirectory() && entry.name === 'node_modules')) {
      this.left.ignored += 1
      return false
    }
    if (hidden || said === 'unignored' || !entry.name.startsWith('.')) return true
    this.left.hidden += 1
    return false
  }

  #textsIn(folder: string, names: ReadonlySet<string>): RuleTexts {
    const read = (name: string): string | null => {
      const path = join(this.#folder, folder, name)
      const text = textOrNull(path, MAX_RULES_BYTES)
      if (text === null && (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > MAX_RULES_BYTES)
        this.left.tooLarge += 1
      return text
    }
    const isRepository = names.has('.git')
    return {
      ignore: names.has('.ignore') ? read('.ignore') : null,
      gitignore: names.has('.gitignore') ? read('.gitignore') : null,
      exclude: isRepository ? read('.git/info/exclude') : null,
      isRepository,
    }
  }

  /** The rules of the folders above the one that is searched, up to the root of its repository. */
  #rulesAbove(): Rules {
    if (this.#search.ignored) return []
    const folders: string[] = []
    let at = this.#folder
    while (at !== ROOT && !existsSync(join(at, '.git'))) {
      at = dirname(at)
      folders.unshift(at)
    }
    const fromRoot = this.#folder === ROOT ? '' : `${relative(ROOT, this.#folder)}/`
    const above = existsSync(join(at, '.git')) ? [] : this.#search.above
    const outside = above.reduce<Rules>((rules, { path, ...texts }) => {
      return rulesWithin(rules, texts, (entry) => path + fromRoot + entry)
    }, [])
    return folders.reduce<Rules>((rules, folder) => {
      const below = `${relative(folder, this.#folder)}/`
      const names = namesOf(readdirSync(folder, { withFileTypes: true }))
      const texts = this.#textsIn(`${relative(this.#folder, folder)}/`, names)
      return rulesWithin(rules, texts, (entry) => below + entry)
    }, outside)
  }
}

const namesOf = (entries: readonly Dirent[]): ReadonlySet<string> =>
  new Set(entries.map(({ name }) => name))

/** Before the dot at the beginning of a name. */
const DOT = /(?<=^|\/)(?=\.)/g
/** How many names with a dot in one path are tried both ways; later ones are tried like the last of these. */
const MAX_DOTS = 4

/** The forms in which a path may match a glob: in Node's matcher, no `*` matches the dot at the beginning of a name. */
function* readings(path: string): Generator<string> {
  yield path
  const dots = Math.min(path.match(DOT)?.length ?? 0, MAX_DOTS)
  for (let chosen = 1; chosen < 2 ** dots; chosen += 1) {
    let index = 0
    yield path.replace(DOT, () => (chosen & (1 << Math.min(index++, MAX_DOTS - 1)) ? '_' : ''))
  }
}

function matches(path: string, glob: string): boolean {
  for (const reading of readings(path)) if (matchesGlob(reading, glob)) return true
  return false
}
