import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { openEmbeddedStore } from '../src/store/embedded/embedded-store.ts'
import type { EventStore, NewEvent } from '../src/store/event-store.ts'
import { BareLog } from './support/bare-log.ts'
import { integer, median, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'
import { atLeast, below } from './support/verdicts.ts'

/** How many write at once, and the share of the limit that is asked of them. */
const WRITERS = [
  { writers: 1, share: 0.85 },
  { writers: 32, share: 0.8 },
]
/** What the event loop may be delayed, in milliseconds. */
const ASKED_DELAY = 10
const ROUNDS = 7
/** The time of one side in a round, milliseconds. */
const DURATION = 1000

/** 1 KB of data and metadata. */
const DATA = JSON.stringify({ text: 'x'.repeat(980) })
const newEvent = (): NewEvent => {
  return { id: randomUUID(), type: 'tool_result', data: DATA, metadata: '{"schema":1}' }
}

type StoreRound = {
  readonly perSecond: number
  /** Appends in each commit, in order. */
  readonly groups: readonly number[]
  /** 99th percentile of the event loop's delay, milliseconds. */
  readonly delay: number
}
type Round = StoreRound & { readonly limit: number }

/** Appends of 1 KB records through the port, against bare node:sqlite with the same commits. */
export async function run(): Promise<string> {
  const lines: string[][] = []
  for (const { writers, share } of WRITERS) {
    const rounds: Round[] = []
    // The first round warms up both sides and does not count.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const store = await inTemporaryFolder((folder) => storeRound(folder, writers))
      const limit = await inTemporaryFolder(async (folder) =>
        bareRound(folder, writers, store.groups),
      )
      if (round > 0) rounds.push({ ...store, limit })
    }
    lines.push(line(writers, share, rounds))
  }
  const head = [
    'writers at once',
    'appends/s',
    'bare node:sqlite/s',
    'appends a commit',
    'ratio asked',
    'measured',
    'event loop p99 asked',
    'measured',
  ]
  return [
    '### Embedded store: appending 1 KB records',
    '',
    table(head, lines),
    '',
    `${ROUNDS} rounds of ${DURATION} ms. Every append waits for its own acknowledgement. Bare node:sqlite makes the same commits,`,
    'synchronously in one thread.',
  ].join('\n')
}

function line(writers: number, share: number, rounds: readonly Round[]): string[] {
  const ratio = median(rounds.map((round) => round.perSecond / round.limit))
  const delay = median(rounds.map((round) => round.delay))
  return [
    String(writers),
    integer(median(rounds.map((round) => round.perSecond))),
    integer(median(rounds.map((round) => round.limit))),
    median(rounds.map((round) => median(round.groups))).toFixed(0),
    ...atLeast(ratio, share),
    ...below(delay, ASKED_DELAY),
  ]
}

async function storeRound(folder: string, writers: number): Promise<StoreRound> {
  const opened = await openEmbeddedStore({ file: join(folder, 'log.db') })
  if (opened.isErr()) throw new Error(opened.error.message)
  const store = opened.value
  // The appends of one commit settle in the same turn of the event loop.
  const groups: number[] = []
  let settled = 0
  const note = (): void => {
    if (settled === 0) {
      setImmediate(() => {
        groups.push(settled)
        settled = 0
      })
    }
    settled += 1
  }
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const start = performance.now()
  const until = start + DURATION
  await Promise.all(
    Array.from({ length: writers }, (_, n) => write(store, `run-${n}`, until, note)),
  )
  const seconds = (performance.now() - start) / 1000
  delay.disable()
  await store.close()
  const appends = groups.reduce((sum, group) => sum + group, 0)
  return { perSecond: appends / seconds, groups, delay: delay.percentile(99) / 1e6 }
}

async function write(
  store: EventStore,
  stream: string,
  until: number,
  onSettled: () => void,
): Promise<void> {
  let expectedRevision: number | 'no_stream' = 'no_stream'
  while (performance.now() < until) {
    const appended = await store.append(stream, [newEvent()], { expectedRevision })
    if (appended.isErr()) throw new Error(JSON.stringify(appended.error))
    expectedRevision = appended.value.revision
    onSettled()
  }
}

function bareRound(folder: string, writers: number, groups: readonly number[]): number {
  const log = new BareLog(join(folder, 'log.db'))
  log.addStreams(writers)
  const start = performance.now()
  let appended = 0
  for (const group of groups) {
    const rows = Array.from({ length: group }, (_, n) => {
      const place = appended + n
      const revision = Math.floor(place / writers)
      return { stream: 1 + (place % writers), revision, event: newEvent() }
    })
    log.append(rows)
    appended += group
  }
  const seconds = (performance.now() - start) / 1000
  log.close()
  return appended / seconds
}

if (import.meta.main) console.log(await run())
