import type { ServerOperations } from './live/server-process.ts'
import type { BareOperations } from './rest/bare-process.ts'
import type { LoadOperations } from './rest/load-process.ts'
import { type Peer, startPeer } from './support/calls.ts'
import { integer, median, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'
import { atLeast } from './support/verdicts.ts'

const RUNS = 100_000
const SHORT_RUN = 10
const LONG_RUN = 100_000
const CONNECTIONS = 16
const ROUNDS = 7
/** The time of one side in a round, milliseconds. */
const DURATION = 1000
const ASKED = 0.6

type Row = { readonly name: string; readonly path: string }
type Peers = {
  readonly server: Peer<ServerOperations>
  readonly bare: Peer<BareOperations>
  readonly load: Peer<LoadOperations>
}

/** One run and lists of runs, with many runs in the store, against a route that sends a ready answer. */
export function run(): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    const live = new URL('./live/server-process.ts', import.meta.url)
    await using server = await startPeer<ServerOperations>(live, [folder])
    await using bare = await startPeer<BareOperations>(
      new URL('./rest/bare-process.ts', import.meta.url),
    )
    await using load = await startPeer<LoadOperations>(
      new URL('./rest/load-process.ts', import.meta.url),
    )
    const rows = await fill(server)
    const lines: string[][] = []
    for (const row of rows) lines.push(await measure(row, { server, bare, load }))
    const head = ['request', 'bytes', 'requests/s', 'bare fastify/s', 'asked', 'measured']
    return [
      `### REST with ${integer(RUNS)} runs in the store`,
      '',
      table(head, lines),
      '',
      `${ROUNDS} rounds of ${DURATION} ms with ${CONNECTIONS} connections, from a process of its own. The bare fastify route, without hooks or`,
      'schemas, answers every request with the bytes of our answer, which it keeps in memory.',
    ].join('\n')
  })
}

async function fill(server: Peer<ServerOperations>): Promise<Row[]> {
  const others = await server.ask('fillMany', { runs: RUNS - 2, records: 3 })
  const short = await server.ask('fill', { records: SHORT_RUN, ended: false })
  const long = await server.ask('fill', { records: LONG_RUN, ended: false })
  await server.ask('projected', { runId: others, seq: 2 })
  await server.ask('projected', { runId: long, seq: LONG_RUN - 1 })
  return [
    { name: `a run of ${SHORT_RUN} records`, path: `/api/runs/${short}` },
    { name: `a run of ${integer(LONG_RUN)} records`, path: `/api/runs/${long}` },
    { name: 'the list, 100 runs a page', path: '/api/runs' },
    { name: 'the list, 20 runs a page', path: '/api/runs?limit=20' },
  ]
}

async function measure({ name, path }: Row, { server, bare, load }: Peers): Promise<string[]> {
  const port = await server.ask('port')
  const answer = await fetch(`http://127.0.0.1:${port}${path}`)
  const body = await answer.text()
  if (answer.status !== 200) throw new Error(`${path}: ${body}`)
  await bare.ask('answerWith', body)
  const barePort = await bare.ask('port')
  const same = { connections: CONNECTIONS, ms: DURATION }
  const rounds: { readonly ours: number; readonly limit: number }[] = []
  // The first round warms up both sides and does not count.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const ours = await load.ask('load', { port, path, ...same })
    const limit = await load.ask('load', { port: barePort, path: '/bytes', ...same })
    if (round > 0) rounds.push({ ours, limit })
  }
  const ratio = median(rounds.map(({ ours, limit }) => ours / limit))
  return [
    name,
    integer(body.length),
    integer(median(rounds.map(({ ours }) => ours))),
    integer(median(rounds.map(({ limit }) => limit))),
    ...atLeast(ratio, ASKED),
  ]
}

if (import.meta.main) console.log(await run())
