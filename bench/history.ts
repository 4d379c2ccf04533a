import { copyFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { fill } from './history/fill.ts'
import { startProcess } from './loop/start-process.ts'
import { integer, median, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'

const SIZES = [10_000, 100_000]
const ROUNDS = 7
const SERVER = new URL('./history/server-process.ts', import.meta.url)
const BARE = new URL('./history/bare-process.ts', import.meta.url)

const FORMS = [
  { name: 'NDJSON export', accept: 'application/x-ndjson', search: '', linesEach: 1 },
  { name: 'SSE replay', accept: 'text/event-stream', search: '?sse', linesEach: 3 },
] as const
type Form = (typeof FORMS)[number]

/** The whole history of a run over HTTP, against a bare scan of its table over the same kind of socket. */
export async function run(): Promise<string> {
  const lines: string[][] = []
  for (const records of SIZES) {
    await inTemporaryFolder(async (folder) => {
      const file = join(folder, 'log.sqlite')
      const runId = await fill(file, records)
      const copy = join(folder, 'bare.sqlite')
      await copyFile(file, copy)
      await using server = await startProcess(SERVER, [folder])
      await using bare = await startProcess(BARE, [copy])
      for (const form of FORMS) {
        const served = `${server.url}/api/runs/${runId}/events?kinds=all`
        lines.push(await compare(form, records, served, bare.url))
      }
    })
  }
  return [
    '### The history of a run over HTTP: records of 1 KB',
    '',
    table(
      [
        '',
        'records',
        'served',
        'bare, JSON.stringify',
        'ratio',
        'bare, stored text',
        'ratio',
        'MB/s',
      ],
      lines,
    ),
    '',
    `${ROUNDS} rounds. The limit, in a process of its own, is \`node:http\` over one \`SELECT\` of \`node:sqlite\`: it parses each record,`,
    'adds its seq and writes it with `JSON.stringify`, or adds the seq to the stored text.',
    'Up to 16 MB of the shorter replay are in memory.',
  ].join('\n')
}

async function compare(
  form: Form,
  records: number,
  served: string,
  bare: string,
): Promise<string[]> {
  const rounds: { ours: Taken; parsed: Taken; text: Taken }[] = []
  // The first round warms up all sides and does not count.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const ours = await take(served, form, records)
    const parsed = await take(`${bare}/parsed${form.search}`, form, records)
    const text = await take(`${bare}/text${form.search}`, form, records)
    if (round > 0) rounds.push({ ours, parsed, text })
  }
  const time = (side: 'ours' | 'parsed' | 'text') => median(rounds.map((round) => round[side].ms))
  const ratio = (side: 'parsed' | 'text') =>
    median(rounds.map((round) => round[side].ms / round.ours.ms)).toFixed(2)
  const ms = (figure: number) => `${integer(figure)} ms`
  const bytes = median(rounds.map(({ ours }) => ours.bytes))
  return [
    form.name,
    integer(records),
    ms(time('ours')),
    ms(time('parsed')),
    ratio('parsed'),
    ms(time('text')),
    ratio('text'),
    integer(bytes / 1000 / time('ours')),
  ]
}

type Taken = { readonly ms: number; readonly bytes: number }

/** Reads a whole response. @throws if a record is missing */
async function take(url: string, { accept, linesEach }: Form, records: number): Promise<Taken> {
  const start = performance.now()
  let bytes = 0
  let lines = 0
  await new Promise<void>((resolve, reject) => {
    const outgoing = request(url, { headers: { accept }, agent: false }, (response) => {
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines += 1
      })
      response.once('end', resolve)
      response.once('error', reject)
    })
    outgoing.once('error', reject)
    outgoing.end()
  })
  const ms = performance.now() - start
  // An event stream also names the delay before a reconnect, and its end.
  if (lines < records * linesEach || lines > records * linesEach + 8) {
    throw new Error(`${lines} lines came for ${records} records`)
  }
  return { ms, bytes }
}

if (import.meta.main) console.log(await run())
