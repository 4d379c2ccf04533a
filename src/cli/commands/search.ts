import type { Command } from 'commander'
import { ALL_KINDS, type Kind, type SearchResult } from '../../client/index.ts'
import { counted } from '../../lib/text.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { JSON_LINES, type JsonOption, positiveInt, someOf } from '../terminal/option-values.ts'
import { type Line, oneLine } from '../terminal/plain-text.ts'
import { print, printJson, say } from '../terminal/print.ts'
import type { Calls } from '../terminal/steps.ts'

type SearchOptions = JsonOption & {
  readonly run?: string
  readonly kinds?: readonly Kind[]
  readonly limit: number
}

/** `retrai search WORDS…`: what was found, the newest run first. */
export const searchCommand = (): Command =>
  serverCommand('search')
    .description('Search what was said, called, printed and changed, in all runs or in one.')
    .argument(
      '<words...>',
      'words, all of them; one in quotes with blanks is a phrase; the last counts by its beginning',
    )
    .option('--run <run>', 'only in this run')
    .option('--kinds <list>', 'only records of these kinds', someOf(ALL_KINDS))
    .option('--limit <n>', 'the most to show, up to 100', positiveInt, 20)
    .option(...JSON_LINES)
    .action(connected(search))

async function* search(
  { client }: Connection,
  words: readonly string[],
  { run: run_id, kinds, limit, json = false }: SearchOptions,
): Calls {
  const q = words.map((word) => (/^[^"]*\s[^"]*$/.test(word) ? `"${word}"` : word)).join(' ')
  const { results, next, behind } = yield* client.search({ q, run_id, kinds, limit })
  for (const [at, result] of results.entries()) {
    if (json) await printJson(result)
    else for (const line of linesOf(result, results[at - 1]?.run_id)) await print(line)
  }
  if (json) return
  if (results.length === 0) say('Nothing was found.')
  if (next !== null) say(`There is more than ${limit}; more words find less.`)
  if (behind > 0) say(`${counted(behind, 'record')} cannot be found yet.`)
}

/** A result, below the name of its run if the result before is of another one. */
function linesOf({ run_id, title, seq, kind, snippet }: SearchResult, before?: string): Line[] {
  const parts: (string | { readonly text: string; readonly style: 'red' })[] = []
  let end = 0
  for (const [from, to] of snippet.marks) {
    parts.push(snippet.text.slice(end, from), { text: snippet.text.slice(from, to), style: 'red' })
    end = to
  }
  const line = [`  ${seq} `, { text: kind, style: 'dim' } as const, ' ', ...parts]
  const shown: Line = [...line, snippet.text.slice(end)]
  if (run_id === before) return [shown]
  return [[{ text: oneLine(title), style: 'bold' }, ` ${run_id}`], shown]
}
