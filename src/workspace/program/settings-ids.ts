import { jsonOr } from '../../lib/json.ts'
import { sha256 } from '../../lib/sha256.ts'
import { wordSet } from '../../lib/text.ts'

/**
 * Files in which settings of a check are beside what any agent changes: the hash of the rest of their content, so that a new
 * dependency is no change. What is not understood belongs to the rest.
 */
const RESTS: Readonly<Record<string, (content: string, texts: readonly string[]) => string>> = {
  'package.json': restOfPackage,
  'pyproject.toml': (text) =>
    withoutSections(
      text,
      /^(?:project(?!\.entry-points)|build-system|dependency-groups|tool\.poetry|tool\.uv)(?:$|\.)/,
    ),
  'setup.cfg': (text) => withoutSections(text, /^(?:metadata|options)(?:$|\.)/),
  'Cargo.toml': (text) =>
    withoutSections(text, /(?:^|\.)(?:dev-|build-)?dependencies(?:$|\.)/, FROM_ELSEWHERE),
  'go.mod': (text) =>
    text
      .split('\n')
      .filter((line) => /=>|^\s*(?:module|replace|tool|godebug|ignore)\b/.test(line))
      .join('\n'),
}

/** The id of a file that a check could do without. */
export const NO_SETTINGS = sha256('')

export const hasSettings = (name: string): boolean => Object.hasOwn(RESTS, name)

/** The id of the settings in a file of this name; null if the file is compared as it is. */
export function settingsId(name: string, content: Buffer, texts: readonly string[]): string | null {
  const rest = hasSettings(name) ? RESTS[name] : undefined
  return rest === undefined ? null : sha256(rest(content.toString(), texts))
}

/** Parsers of TOML and of INI files do not agree where lines end. */
const LINE_END = /\r\n|[\p{Cc}\u2028\u2029]/u
/** A dependency from another place than a registry may be in the project, in place of what a test needs. */
const FROM_ELSEWHERE = /\b(?:path|git|registry|package)\b["']?\s*=|\\/

/**
 * The lines outside of the sections with these names. Whatever may begin a section ends the one before it. In a text of several
 * lines, a name of a section means nothing, but then the text itself begins or ends in a line that is kept.
 */
function withoutSections(text: string, left: RegExp, kept = /(?!)/): string {
  let isLeft = false
  const lines = text.split(LINE_END).filter((line) => {
    const [, name] = /^\[([\w.'"()*=, -]+)\]\s*(?:#.*)?$/.exec(line) ?? []
    if (/^\s*\[/.test(line)) isLeft = name !== undefined && left.test(name)
    return line.trim() !== '' && (!isLeft || kept.test(line))
  })
  return lines.join('\n')
}

/** What describes a package, what it needs, and what it is for others. */
const OF_PACKAGE = wordSet(`
  name version description author contributors maintainers license type repository homepage bugs
  keywords funding private engines os cpu publishConfig files bin main module browser exports
  types typings typesVersions sideEffects man directories
`)
const NEEDED = /dependenc/i

function restOfPackage(content: string, texts: readonly string[]): string {
  const parsed = jsonOr(content, null)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return content
  const { scripts: all, ...others } = parsed as Readonly<Record<string, unknown>>
  const rest = Object.entries(others).flatMap(([name, value]) => {
    if (OF_PACKAGE.has(name)) return []
    if (!NEEDED.test(name)) return [[name, value]]
    const odd = Object.entries(Object(value)).filter(([, what]) => /^[a-z]+:/.test(String(what)))
    return odd.length === 0 ? [] : [[name, Object.fromEntries(odd)]]
  })
  const scripts = reachedScripts(all, texts)
  if (rest.length + Object.keys(scripts).length === 0) return ''
  return JSON.stringify([Object.fromEntries(rest), scripts], inOrder)
}

const inOrder = (_: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value

/** What runs whenever packages are installed. */
const ALWAYS = 'test preinstall install postinstall prepare'

/** The scripts of a package that a check runs, by its commands: those that they name, with what these name, in turn. */
export function reachedScripts(
  scripts: unknown,
  texts: readonly string[],
): Readonly<Record<string, string>> {
  const reached: Record<string, string> = {}
  for (let open = [ALWAYS, ...texts]; open.length > 0; ) {
    const words = open.flatMap((text) => text.split(/[^\w:.*/-]+/))
    const isNamed = (name: string): boolean =>
      words.some(
        (word) => word === name || (/.\*$/.test(word) && name.startsWith(word.slice(0, -1))),
      )
    // A script named `pretest` runs before `test`.
    const next = Object.entries(Object(scripts)).filter(
      ([name]) =>
        !Object.hasOwn(reached, name) && [name, name.replace(/^(?:pre|post)/, '')].some(isNamed),
    )
    for (const [name, text] of next) reached[name] = String(text)
    open = next.map(([, text]) => String(text))
  }
  return reached
}
