import { posix } from 'node:path'
import { jsonOr } from '../../lib/json.ts'
import { reachedScripts } from './settings-ids.ts'

/** A file or folder with one of these words in its name is there to check others. */
const CHECKS: ReadonlySet<string> = new Set([
  ...['test', 'tests', 'check', 'checks', 'checker', 'spec', 'specs', 'verify', 'verifier', 'lint'],
  ...['validate', 'validator', 'ci', 'expected', 'golden', 'grade', 'grader', 'judge', 'assert'],
])

/** Whether its name, or that of a folder above it, says that it checks something. */
function saysThatItChecks(path: string): boolean {
  const folders = path.toLowerCase().split('/')
  const name = path.slice(path.lastIndexOf('/') + 1)
  const words = name
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/)
  return words.some((word) => CHECKS.has(word)) || folders.some((folder) => CHECKS.has(folder))
}

const SHELL_ENDING = /\.(?:sh|bash|zsh|bats)$/
const SHELL_LINE = /^#!.*\b(?:sh|bash|dash|zsh|bats|make)\b/
const isShellScript = (path: string, text: string): boolean =>
  SHELL_ENDING.test(path) || SHELL_LINE.test(text)

const MAKEFILES = ['GNUmakefile', 'makefile', 'Makefile']
const MOST_TEXTS = 200
/** Where the output of a command may go: a pipe, a variable, a file. */
const LOOKED_AT = /\||[<>$]\(|`|>(?!\s*(?:&\d|\/dev\/null))/
/** Whatever a script or a makefile takes in is a part of it. */
const INCLUDES = /^\s*(?:[-s]?include|source|\.)\s/
/** A variable of make, and the folder of a script. */
const NO_COMMAND = /\$\((?:[\w.-]+|dirname [^()]*)\)/g

/**
 * The files that the commands of a check name and that belong to the check, with those that these name in turn. What only its
 * name could tell apart from the product is the product.
 * @param read a text file of the project, by its path; null if there is none, or it is no script that people write
 */
export function namedFiles(
  commands: readonly string[],
  read: (path: string) => string | null,
): ReadonlySet<string> {
  const named = new Set<string>()
  const open = commands.map((text) => ({ text, folder: '' }))
  const seen = new Set<string>()
  const add = (path: string, text: string): void => {
    named.add(path)
    if (seen.has(path) || seen.size >= MOST_TEXTS) return
    seen.add(path)
    open.push({ text, folder: path.slice(0, path.lastIndexOf('/') + 1) })
  }
  for (const { text, folder } of open) {
    if (/\b(?:npm|pnpm|yarn|bun)\b/.test(text)) {
      const content = jsonOr(read('package.json') ?? '', {})
      const scripts = reachedScripts(Object(content).scripts, commands)
      add('package.json', Object.values(scripts).join('\n'))
    }
    const makefile = /\bmake\b/.test(text) && MAKEFILES.find((name) => read(name) !== null)
    if (makefile) add(makefile, read(makefile) ?? '')
    for (const part of text.split(/&&|\|\||[;\n]/)) {
      // What is printed for the check to look at comes from the product.
      const isLookedAt = LOOKED_AT.test(part.replace(NO_COMMAND, ''))
      const isIncluded = INCLUDES.test(part)
      for (const word of part.split(/[\s"'`=:;|&<>(){}[\],]+/)) {
        const [path, content] = found(word, folder, read) ?? []
        if (path === undefined || content === undefined || named.has(path)) continue
        const isScript = isIncluded || (isShellScript(path, content) && !isLookedAt)
        if (isScript || saysThatItChecks(path)) add(path, content)
      }
    }
  }
  return named
}

/** The file that a word names, from the project, or from the folder of the script, which may be in a variable. */
function found(
  word: string,
  folder: string,
  read: (path: string) => string | null,
): readonly [path: string, content: string] | null {
  const plain = word.replace(/^\$\w*\/|^(?:\.?\/)+/, '')
  if (!/^[\w.-]/.test(plain) || plain.endsWith('/')) return null
  const inFolder = [plain, plain.slice(plain.indexOf('/') + 1)].map((path) => folder + path)
  for (const path of [plain, ...inFolder].map(posix.normalize)) {
    const content = read(path)
    if (content !== null) return [path, content]
  }
  return null
}
