import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { openEmbeddedStore } from '../src/store/embedded/embedded-store.ts'
import { type EventStore, MAX_PAGE } from '../src/store/event-store.ts'
import { BareLog } from './support/bare-log.ts'
import { integer, median, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'
import { atLeast } from './support/verdicts.ts'

const RECORDS = 10_000
const PAGES = [500, 1000, MAX_PAGE]
const ROUNDS = 15
/** Other runs, whose records are between those of the run that is read. */
const OTHERS = 4
const STREAM = 1
const ASKED = 0.5

/** One run of 10,000 records of 1 KB read back through the port, against a bare SELECT. */
export async function run(): Promise<string> {
  return await inTemporaryFolder(async (folder) => {
    const file = join(folder, 'log.db')
    fill(file)
    const opened = await openEmbeddedStore({ file })
    if (opened.isErr()) throw new Error(opened.error.message)
    const bare = new BareLog(file)
    try {
      return await report(opened.value, bare)
    } finally {
      bare.close()
      await opened.value.close()
    }
  })
}

function fill(file: string): void {
  const log = new BareLog(file)
  log.addStreams(1 + OTHERS)
  const data = JSON.stringify({ text: 'x'.repeat(980) })
  for (let revision = 0; revision < RECORDS; revision += 1) {
    const rows = Array.from({ length: 1 + OTHERS }, (_, n) => {
      const event = { id: randomUUID(), type: 'tool_result', data, metadata: '{"schema":1}' }
      return { stream: STREAM + n, revision, event }
    })
    log.append(rows)
  }
  log.close()
}

async function report(store: EventStore, bare: BareLog): Promise<string> {
  const lines: string[][] = []
  for (const page of PAGES) {
    const rounds: { readonly port: number; readonly select: number }[] = []
    // The first round warms up both sides and does not count.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const port = await timed(() => readPages(store, page))
      const select = await timed(() => Promise.resolve(bare.read(STREAM).length))
      if (round > 0) rounds.push({ port, select })
    }
    const [port, select] = [rounds.map((r) => r.port), rounds.map((r) => r.select)]
    lines.push([
      integer(page),
      `${median(port).toFixed(1)} ms`,
      `${median(select).toFixed(1)} ms`,
      integer((1000 * RECORDS) / median(port)),
      ...atLeast(median(rounds.map((round) => round.select / round.port)), ASKED),
    ])
  }
  const head = ['page', 'through the port', 'bare SELECT', 'records/s', 'asked', 'measured', 'held']
  return [
    `### Embedded store: reading one run of ${integer(RECORDS)} records of 1 KB`,
    '',
    table(head, lines),
    '',
    `Medians of ${ROUNDS} alternating rounds; the ratio is the median of the rounds' ratios. The bare`,
    `SELECT takes the same rows at once with all(). Records of ${OTHERS} other runs are between them.`,
  ].join('\n')
}

async function readPages(store: EventStore, page: number): Promise<number> {
  let from = 0
  for (;;) {
    const read = await store.readStream('run-1', { from, direction: 'forward', limit: page })
    if (read.isErr()) throw new Error(JSON.stringify(read.error))
    from += read.value.length
    if (read.value.length < page) return from
  }
}

/** @returns milliseconds @throws if a record is missing */
async function timed(read: () => Promise<number>): Promise<number> {
  const start = performance.now()
  const records = await read()
  const time = performance.now() - start
  if (records !== RECORDS) throw new Error(`${records} records were read`)
  return time
}

if (import.meta.main) console.log(await run())
