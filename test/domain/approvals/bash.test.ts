import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ANY, matches } from '../../../src/domain/approvals/glob.ts'
import { splitCommand } from '../../../src/domain/approvals/split-command.ts'

const folder = mkdtempSync(join(tmpdir(), 'retrai-bash-'))
afterAll(() => rmSync(folder, { recursive: true }))
const START = join(folder, 'start')
writeFileSync(START, `command_not_found_handle() { printf '%s\\0' "$#" "$@" >> "$LOG"; }\n`)
/** Each line has a log of its own, because what it leaves in the background may write later. */
let logs = 0

/** What bash does with a line, in a folder of its own where no program is found. */
function inBash(line: string): { readonly ran: readonly string[]; readonly wrote: boolean } {
  const cwd = join(folder, 'work')
  rmSync(cwd, { recursive: true, force: true })
  mkdirSync(cwd)
  logs += 1
  const log = join(folder, `log-${logs}`)
  writeFileSync(log, '')
  const env = { LOG: log, BASH_ENV: START, PATH: '/nowhere', X: 'x y', LC_ALL: 'C' }
  spawnSync('/bin/bash', ['--norc', '-c', line], { cwd, env, stdio: 'ignore', timeout: 10_000 })
  const words = readFileSync(log, 'latin1').split('\0').slice(0, -1)
  const ran: string[] = []
  while (words.length > 0) ran.push(words.splice(0, Number(words.shift())).join(' '))
  return { ran, wrote: readdirSync(cwd).length > 0 }
}

/** What of it the reader does not say; null if it does not say that it knows the line. */
function missed(line: string): readonly string[] | null {
  const split = splitCommand(line)
  if (split === null) return null
  const texts = split.flatMap(({ text, others }) => [text, ...others])
  const { ran, wrote } = inBash(line)
  const isSaid = (command: string): boolean =>
    texts.some((text) =>
      isSame(
        text.map((part) => part ?? ANY),
        command,
      ),
    )
  const isRedirected = split.some(({ doubt }) => doubt !== null && /file/.test(doubt))
  return [...ran.filter((one) => !isSaid(one)), ...(wrote && !isRedirected ? ['a file'] : [])]
}

/** Whether a text may be this command. Both may hold stars, which a pattern would take as such. */
function isSame(text: readonly (string | typeof ANY)[], command: string): boolean {
  const plain = (part: string): string => part.replaceAll('*', '\0')
  const pattern = text.map((part) => (part === ANY ? '*' : plain(part))).join('')
  return matches(pattern, [plain(command)], 'name', 'surely')
}

const PIECES = [
  'a',
  'b',
  'c',
  '1',
  '7',
  '12345678901',
  ' ',
  ' ',
  ' ',
  ' ',
  "'",
  '"',
  '\\',
  '\n',
  '\\\n',
  ';',
  '|',
  '&',
  '&&',
  '||',
  '>',
  '>>',
  '<',
  '<>',
  '>&',
  '<&',
  '&>',
  '>|',
  '#',
  '$X',
  '$',
  '!',
  '{',
  '}',
  '[',
  ']',
  '*',
  '?',
  '=',
  'A=',
  '-',
  ',',
  '.',
  '/dev/null',
  '[ ',
  '^',
  '%',
]

/** The same lines each time. */
function* lines(count: number): Generator<string> {
  let seed = 26
  const below = (most: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
    return Math.floor((seed / 0x80000000) * most)
  }
  for (let made = 0; made < count; made += 1) {
    yield Array.from({ length: 1 + below(12) }, () => PIECES[below(PIECES.length)]).join('')
  }
}

test.for([
  'a > 1',
  'a >> 1',
  'a &> 1',
  'a <> 1',
  'a >| 1',
  'a >& 1x',
  '\\7>&1 a',
  '"7">&1 a',
  '12345678901>&1 a',
  '>&-b a',
  '>& -b a',
  '2>&-b a',
  'a $\\\nX',
  'a <\\\n<b\nc\nb\nd',
])('bash does nothing with %j that the reader does not say', (line) => {
  expect(missed(line) ?? []).toEqual([])
})

test('bash does nothing with random lines that the reader does not say', {
  timeout: 120_000,
}, () => {
  const known = [...lines(150)].flatMap((line) => {
    const what = missed(line)
    return what === null ? [] : [{ line, what }]
  })
  expect(known.length).toBeGreaterThan(35)
  expect(known.filter(({ what }) => what.length > 0)).toEqual([])
})
