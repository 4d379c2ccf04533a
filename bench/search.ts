import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startServerProcess } from '../examples/demo/server.ts'
import { SearchResults } from '../src/api/search.ts'
import { buildProgram } from '../test/support/build.ts'
import { fill, RECORDS_EACH } from './startup/fill.ts'
import { BareLog } from './support/bare-log.ts'
import { integer, median, percentile, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'
import { below } from './support/verdicts.ts'

const RECORDS = 1_000_000
const RUNS = Math.ceil(RECORDS / RECORDS_EACH)
/** Words that a model says in a run, and how many different ones there are. */
const SAID = 60
const WORDS = 50_000
/** Searches of each kind. */
const SEARCHES = 100
const ASKED_MS = 100
const LOOK_MS = 250

/** Words as languages have them: the first is the most frequent. The same for the same run and place. */
function wordOf(run: number, place: number): string {
  const share = ((Math.imul(run, 2_654_435_761) ^ Math.imul(place, 40_503_157)) >>> 0) / 2 ** 32
  return `w${Math.floor(WORDS ** share)}`
}

const said = (run: number): string =>
  Array.from({ length: SAID }, (_, place) => wordOf(run, place)).join(' ')

/** What is searched for, by the number of the search. The words are those of runs all over the log. */
const KINDS: readonly { readonly name: string; readonly q: (n: number) => string }[] = [
  { name: 'a word of any frequency', q: (n) => wordOf(n * 977, 7) },
  { name: 'the most frequent word', q: () => 'w1' },
  { name: 'two words of one run', q: (n) => `${wordOf(n * 977, 7)} ${wordOf(n * 977, 30)}` },
  {
    name: 'a phrase of three words',
    q: (n) =>
      `"${said(n * 977)
        .split(' ')
        .slice(9, 12)
        .join(' ')}"`,
  },
  { name: 'the beginning of a word', q: (n) => wordOf(n * 977, 7).slice(0, 3) },
  { name: 'a word that nobody said', q: (n) => `nothing${n}` },
]

/** Searches in all runs, over HTTP, one after the other. */
export function run(): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    const [dataDir, project] = [join(folder, 'data'), join(folder, 'project')]
    for (const made of [dataDir, project]) await mkdir(made)
    const log = new BareLog(join(dataDir, 'log.sqlite'))
    const records = fill(log, project, RUNS, 0, said)
    log.close()
    const args = ['--port', '0', '--data-dir', dataDir]
    const server = await startServerProcess(args, { PATH: process.env.PATH }, await buildProgram())
    try {
      const search = async (q: string) =>
        SearchResults.parse(
          await (await fetch(`${server.url}/api/search?q=${encodeURIComponent(q)}`)).json(),
        )
      const began = performance.now()
      while ((await searchable(search)) > 0) await delay(LOOK_MS)
      const built = (performance.now() - began) / 1000
      const rows: string[][] = []
      for (const kind of KINDS) rows.push(await measure(kind, search))
      return [
        `### Search in ${integer(records)} records`,
        '',
        table(['what', 'results of a page', 'median', 'asked of p95', 'measured'], rows),
        '',
        `${SEARCHES} searches of each kind, of ${integer(WORDS)} different words in ${integer(RUNS)} runs. The index was complete`,
        `${built.toFixed(0)} s after the start of the server, and left half of that time to others.`,
      ].join('\n')
    } finally {
      server.process.kill('SIGKILL')
      await once(server.process, 'exit')
    }
  })
}

type Search = (q: string) => Promise<SearchResults>

/** How many records are not in the index yet. */
const searchable = (search: Search): Promise<number> =>
  search('w1').then(
    ({ behind }) => behind,
    () => Number.POSITIVE_INFINITY,
  )

async function measure({ name, q }: (typeof KINDS)[number], search: Search): Promise<string[]> {
  const times: number[] = []
  const found: number[] = []
  for (let n = 1; n <= SEARCHES; n += 1) {
    const began = performance.now()
    const { results } = await search(q(n))
    times.push(performance.now() - began)
    found.push(results.length)
  }
  const p95 = below(percentile(times, 0.95), ASKED_MS)
  return [name, integer(median(found)), `${median(times).toFixed(1)} ms`, ...p95]
}

if (import.meta.main) console.log(await run())
