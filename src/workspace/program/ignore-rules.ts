import ignore, { type Ignore } from 'ignore'
import type { RuleTexts } from '../questions.ts'

/** In the order in which they count: what `.ignore` says counts more than what git obeys, in whatever folder it is. */
const KINDS = ['ignore', 'gitignore', 'exclude'] as const

type RuleFile = {
  readonly kind: (typeof KINDS)[number]
  readonly rules: Ignore
  /** The path of an entry relative to the folder of this file. */
  readonly relative: (path: string) => string
}

/** The files that hold in a folder, the innermost first. */
export type Rules = readonly RuleFile[]

/**
 * The rules that hold in a folder.
 * @param above those of the folder that contains it
 * @param relative makes the path of an entry relative to the folder, from the path that `verdict` gets
 */
export function rulesWithin(above: Rules, texts: RuleTexts, relative: RuleFile['relative']): Rules {
  const own = KINDS.flatMap((kind) => {
    const text = texts[kind]
    return text == null ? [] : [{ kind, rules: parse(text), relative }]
  })
  const inherited = texts.isRepository ? above.filter(({ kind }) => kind === 'ignore') : above
  return own.length === 0 ? inherited : [...own, ...inherited]
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
 * What the rules say of an entry, as ripgrep understands them: the last pattern that matches counts, and the innermost
 * file of a kind in which one does. `unignored`: a pattern names it as an exception, so it is shown even if it is hidden.
 * @param path with `/` at its end for a folder
 */
export function verdict(rules: Rules, path: string): 'ignored' | 'unignored' | 'none' {
  for (const kind of KINDS) {
    for (const file of rules) {
      if (file.kind !== kind) continue
      const { ignored, unignored } = file.rules.test(file.relative(path))
      if (ignored) return 'ignored'
      if (unignored) return 'unignored'
    }
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
  for (const file of rules) {
    const path = file.relative(folder)
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) {
      const part = path.slice(0, end + 1)
      if (file.rules.test(part).ignored) file.rules.add(`!/${part.replace(SPECIAL, '\\$&')}`)
    }
  }
}
