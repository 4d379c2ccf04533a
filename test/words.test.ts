import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

/** The lines of a text in which the word check of `npm run check` reports something, from 1. */
function reportedLines(lines: readonly string[]): number[] {
  const checked = spawnSync(
    'npx',
    ['cspell', 'lint', '--no-progress', '--no-summary', '--config', 'cspell.config.yaml', 'stdin'],
    { input: lines.join('\n'), encoding: 'utf8' },
  )
  const found = [...checked.stdout.matchAll(/:(\d+):\d+ /g)].map(([, line]) => Number(line))
  return [...new Set(found)].sort((a, b) => a - b)
}

const DIALECT = [
  'The run goes on.',
  'a socket that does not get on',
  ' * The loop went',
  ' * on where it was.',
  'The file is made anew.',
  'The call is made again.',
  'A secret is taken out.',
  'It takes out the text.',
  'The log tells why.',
  'The observer is told.',
  'The server says so.',
  'The hash stands in the record.',
  'All that stands behind it',
  'records behind seq 12',
  'The ticket is none.',
  'as long as it runs',
  'a text such that it parses',
  'The reader is let go.',
  'The cause is mended.',
]
const ENGLISH = [
  'The run continues. Go on to the next page.',
  'A server behind a proxy, behind the load balancer; a reader falls behind the log.',
  'The table on the page; get one record; going online; a stand-in for EventStoreDB.',
  'Output of a tool, a timeout, take it outside, there is none.',
  'It takes ten times as long as that.',
  'Say something, tell them apart, such as that; recommend, amend, as long.',
]

test('the word check reports the dialect, also across a line break, and no plain English', () => {
  const every = DIALECT.map((_, index) => index + 1)
  expect(reportedLines([...DIALECT, ...ENGLISH])).toEqual(every)
})
