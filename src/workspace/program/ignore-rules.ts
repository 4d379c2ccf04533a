import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import ignore, { type Ignore } from 'ignore'
import { sha256 } from '../../lib/sha256.ts'
import { textOrNull } from './files.ts'
import { foldersDownTo } from './paths.ts'

/** A larger file of rules is not obeyed, because its rules are matched with every path. */
const MAX_RULES_BYTES = 64 * 1024

/** A `.gitignore`. */
type RuleFile = {
  readonly rules: () => Ignore
  /** The path of an entry relative to the folder of this file. */
  readonly relative: (path: string) => string
}

/** What holds in a folder. */
export type Rules = {
  /** The innermost first. */
  readonly files: readonly RuleFile[]
  /** Rules with the same key judge the same paths alike. */
  readonly key: string
}

export const NO_RULES: Rules = { files: [], key: '' }

/** The text of a `.gitignore`; null if it is not obeyed. */
export const rulesText = (path: string | Buffer): string | null => textOrNull(path, MAX_RULES_BYTES)

/** The rules of the folders above the one that is searched, up to the root of its repository. */
export const rulesAbove = (searched: string): Rules =>
  foldersDownTo(searched)
    .slice(0, -1)
    .reduce<Rules>((rules, folder) => {
      const below = `${relative(folder, searched)}/`
      const text = rulesText(join(folder, '.gitignore'))
      const isRepository = existsSync(join(folder, '.git'))
      const here = { at: folder, text, isRepository }
      return rulesWithin(rules, here, (entry) => below + entry)
    }, NO_RULES)

type Here = {
  /** A name of the folder that no other folder has. */
  readonly at: string
  /** That of its `.gitignore`. */
  readonly text: string | null
  readonly isRepository: boolean
}

/**
 * The rules that hold in a folder. Where a repository begins, those of the folders above do not.
 * @param above those of the folder that contains it
 * @param relative makes the path of an entry relative to the folder
 */
export function rulesWithin(
  above: Rules,
  { at, text, isRepository }: Here,
  relative: RuleFile['relative'],
): Rules {
  const inherited = isRepository ? NO_RULES : above
  if (text === null) return inherited
  let parsed: Ignore | undefined
  const rules = (): Ignore => {
    parsed ??= parse(text)
    return parsed
  }
  const files = [{ rules, relative }, ...inherited.files]
  return { files, key: sha256(JSON.stringify([inherited.key, at, text])) }
}

function parse(text: string): Ignore {
  const rules = ignore({ ignoreCase: false })
  for (const line of text.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    try {
      ignore().add(line).test('a')
      rules.add(line)
    } catch {
      // Like ripgrep, it obeys the other lines if one is not a valid pattern.
    }
  }
  return rules
}

/**
 * What the rules say of an entry, as git understands them: the last pattern that matches counts, and the innermost file in
 * which one does. `unignored`: a pattern names it as an exception, so it is shown even if it is hidden.
 * @param path with `/` at its end for a folder
 */
export function verdict(rules: Rules, path: string): 'ignored' | 'unignored' | 'none' {
  for (const file of rules.files) {
    const { ignored, unignored } = file.rules().test(file.relative(path))
    if (ignored) return 'ignored'
    if (unignored) return 'unignored'
  }
  return 'none'
}

/** What means something in a pattern. */
const SPECIAL = /[\\*?[\]!# ]/g

/**
 * Call it before the entries of a folder are judged. A file whose patterns match this folder was overruled by another, or by
 * the person who asked for the folder, and must not leave out what is in it.
 */
export function enter(rules: Rules, folder: string): void {
  for (const file of rules.files) {
    const path = file.relative(folder)
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) {
      const part = path.slice(0, end + 1)
      const known = file.rules()
      if (known.test(part).ignored) known.add(`!/${part.replace(SPECIAL, '\\$&')}`)
    }
  }
}
