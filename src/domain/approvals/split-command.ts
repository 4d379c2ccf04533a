import { CommandLineReader, type Word } from './command-line-reader.ts'
import { ANY, type Text } from './glob.ts'

/** One of the commands that a command line runs. */
export type SimpleCommand = {
  /** Its words with one blank between them, without quotes. */
  readonly text: Text
  /** What it may run beside that: the program without its folder, or what a program such as `timeout` runs. */
  readonly others: readonly Text[]
  /** Why `text` is not all that it does; null if it is. */
  readonly doubt: string | null
}

/** The longest command line that is split. */
const MAX_CHARS = 4_000
/** The most words for which a program such as `timeout` may run each of the rest. */
const MAX_RUN_WORDS = 40

/** Programs that run their arguments. */
const RUNS_ITS_ARGUMENTS: ReadonlySet<string> = new Set([
  ...['env', 'sudo', 'doas', 'nohup', 'nice', 'ionice', 'timeout', 'exec', 'command', 'builtin'],
  ...['stdbuf', 'setsid', 'chroot', 'unshare', 'nsenter', 'strace', 'ltrace', 'watch', 'xargs'],
  ...['parallel', 'find', 'busybox', 'flock', 'script', 'systemd-run', 'chrt', 'taskset', 'entr'],
  'jobs',
])
/** Those of them that give one argument to a shell. */
const RUNS_AN_ARGUMENT_AS_TEXT: ReadonlySet<string> = new Set([
  ...['watch', 'parallel', 'flock', 'script', 'entr'],
])
/** A word that means the same if a shell reads it again. */
const PLAIN = /^[\w./:@%+,=-]*$/
/** Programs that run a text as commands, or change what later commands mean. */
const RUNS_TEXT: ReadonlySet<string> = new Set([
  ...['sh', 'bash', 'dash', 'zsh', 'ksh', 'fish', 'rbash', 'eval', 'source', '.', 'su', 'ssh'],
  ...['alias', 'shopt', 'trap', 'enable', 'hash', 'complete', 'bind', 'mapfile', 'readarray'],
  'compgen',
])
/** Commands of bash that calculate: `a[$(x)]` runs x, even within quotes. */
const CALCULATES: ReadonlySet<string> = new Set([
  ...['let', 'test', '[', 'printf', 'read', 'unset', 'wait'],
  ...['declare', 'typeset', 'local', 'export', 'readonly'],
])
const KEYWORDS: ReadonlySet<string> = new Set([
  ...['if', 'then', 'else', 'elif', 'fi', 'for', 'while', 'until', 'do', 'done', 'case', 'esac'],
  ...['select', 'function', 'time', 'coproc', '{', '}', '!', '[[', ']]', 'in'],
])

const ASSIGNMENT = /^[A-Za-z_]\w*(\[[^\]]*\])?\+?=/

/**
 * The commands that bash runs for a command line, or the reason why that is not certain. It knows less than bash, and
 * gives up at everything that it does not know.
 */
export function splitCommand(line: string): readonly SimpleCommand[] | { readonly doubt: string } {
  if (line.length > MAX_CHARS) return { doubt: `it has more than ${MAX_CHARS} characters` }
  const split = new CommandLineReader(line).read()
  if ('doubt' in split) return split
  const commands: SimpleCommand[] = []
  for (const { words, redirects } of split) {
    const [first] = words
    if (first !== undefined && KEYWORDS.has(first.raw)) return { doubt: `it has "${first.raw}"` }
    if (words.length > 0 || redirects) commands.push(simpleCommand(words, redirects))
  }
  return commands
}

function simpleCommand(words: readonly Word[], redirects: boolean): SimpleCommand {
  const start = words.findIndex(({ raw }) => !ASSIGNMENT.test(raw))
  const run = start === -1 ? [] : words.slice(start)
  const program = run[0]?.parts ?? []
  const name = nameOf(program)
  const text = joined(words)
  const known = run.slice(1)
  const assigned = start === -1 ? words : words.slice(0, start)
  const others = [
    // An unknown word may be none, and then there is no blank before it.
    ...(text.includes(ANY)
      ? [text.filter((part, at) => part !== ' ' || text[at + 1] !== ANY)]
      : []),
    ...(start > 0 ? [joined(run)] : []),
    ...(name === null ? [] : [joined([{ parts: [name], raw: name }, ...known])]),
    ...argumentsRun(name, run),
    ...(assigned.some(mayCalculate) ? [[ANY]] : []),
  ]
  return { text, others, doubt: doubtOf(name, redirects, run, start > 0) }
}

/** The name of the program without its folder; null if it is not known. */
function nameOf(program: Text): string | null {
  const path = program.length === 1 ? program[0] : null
  if (typeof path !== 'string' || path === '' || /\s/.test(path)) return null
  return path.slice(path.lastIndexOf('/') + 1)
}

function argumentsRun(name: string | null, run: readonly Word[]): Text[] {
  if (name === null || RUNS_TEXT.has(name)) return run.length === 0 ? [] : [[ANY]]
  if (CALCULATES.has(name)) return run.some(mayCalculate) ? [[ANY]] : []
  if (!RUNS_ITS_ARGUMENTS.has(name)) return []
  if (run.length > MAX_RUN_WORDS) return [[ANY]]
  if (name === 'env' && run.slice(1).some(maySplit)) return [[ANY]]
  if (RUNS_AN_ARGUMENT_AS_TEXT.has(name) && !run.every(isPlain)) return [[ANY]]
  return run.slice(1).flatMap((_, index) => {
    const rest = run.slice(index + 1)
    const own = nameOf(rest[0]?.parts ?? [])
    if (own !== null && RUNS_TEXT.has(own)) return [[ANY]]
    const named = own === null ? rest : [{ parts: [own], raw: own }, ...rest.slice(1)]
    // xargs and find add words that are not known.
    return [[...joined(named), ANY]]
  })
}

/** Whether a word runs a command if bash calculates with it. */
const mayCalculate = ({ raw }: Word): boolean => /\$\(|`/.test(raw)

/** Whether a word may be the option with which env splits a text. It may be shortened. */
const maySplit = ({ parts: [first = ''] }: Word): boolean =>
  first === ANY || /^(-\w*S|--s)/.test(first)

const isPlain = ({ parts }: Word): boolean =>
  parts.every((part) => part !== ANY && PLAIN.test(part))

function doubtOf(
  name: string | null,
  redirects: boolean,
  run: readonly Word[],
  assigns: boolean,
): string | null {
  if (redirects) return 'it reads or writes a file by < or >'
  if (assigns) return 'it sets variables'
  if (run.length > 0 && name === null) return 'the name of its program is not known'
  return null
}

/** An unknown text has the blank after it, for it may be no word at all. */
function joined(words: readonly Word[]): Text {
  const text: (string | typeof ANY)[] = []
  for (const { parts } of words) {
    if (text.length > 0 && text.at(-1) !== ANY) text.push(' ')
    text.push(...parts)
  }
  return text
}
