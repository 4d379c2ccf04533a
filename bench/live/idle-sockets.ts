import { setTimeout as sleep } from 'node:timers/promises'
import { integer, table } from '../support/figures.ts'
import { inTemporaryFolder } from '../support/temporary-folder.ts'
import { atMost } from '../support/verdicts.ts'
import { type Pair, type Side, startPair, watchPath } from './pair.ts'

const SOCKETS = 2000
const RUNS = 500
/** Rounds of sockets that are opened and closed before anything is measured. */
const [WARM_ROUNDS, WARM_SOCKETS] = [20, 100]
const SETTLE_MS = 2000
const CPU_MS = 5000
/** The limit, as a multiple of the heap of a bare socket. */
const ASKED = 2.5

type Cost = { readonly rss: number; readonly heap: number; readonly cpu: number }

/** The cost of an idle socket. */
export async function idleSockets(): Promise<string> {
  const oneRun = await cost(({ ours }) => ours, 1)
  const manyRuns = await cost(({ ours }) => ours, RUNS)
  const bare = await cost(({ bare }) => bare, 1)
  const kinds = ['RSS a socket', 'heap a socket', 'CPU']
  const head = [`${integer(SOCKETS)} idle sockets`, ...kinds, 'asked', 'heap beside bare']
  const line = (name: string, { rss, heap, cpu }: Cost): string[] => [
    name,
    `${rss.toFixed(1)} KiB`,
    `${heap.toFixed(1)} KiB`,
    `${(100 * cpu).toFixed(1)} %`,
    ...(heap === bare.heap ? ['', ''] : atMost(heap / bare.heap, ASKED)),
  ]
  const rows = [
    line('on one run', oneRun),
    line(`on ${integer(RUNS)} runs`, manyRuns),
    line('of a bare ws server', bare),
  ]
  return [
    '#### What an idle socket costs',
    '',
    table(head, rows),
    '',
    `Memory of the server process after a collection, before and with the sockets. Before that, ${integer(WARM_ROUNDS * WARM_SOCKETS)} sockets`,
    'were opened and closed. RSS reuses the memory that those left, so only the heap is compared.',
    `CPU is that of the whole process over ${CPU_MS / 1000} s.`,
  ].join('\n')
}

/** Each in a separate process, so that none reuses memory of another. */
function cost(choose: (pair: Pair) => Side, runs: number): Promise<Cost> {
  return inTemporaryFolder(async (folder) => {
    await using pair = await startPair(folder)
    return await measure(pair, choose(pair), runs)
  })
}

async function measure({ observers }: Pair, { peer, port }: Side, runs: number): Promise<Cost> {
  const runIds: string[] = []
  for (let run = 0; run < runs; run += 1) {
    runIds.push(await peer.ask('fill', { records: 2, ended: false }))
  }
  const warmUp = await peer.ask('fill', { records: 2, ended: false })
  for (let round = 0; round < WARM_ROUNDS; round += 1) {
    const target = { port, path: watchPath(warmUp) }
    await observers.ask('open', { target, observers: WARM_SOCKETS })
    await observers.ask('close')
  }
  await sleep(SETTLE_MS)
  const before = await peer.ask('memory', { collect: true })
  for (const runId of runIds) {
    const target = { port, path: watchPath(runId) }
    await observers.ask('open', { target, observers: SOCKETS / runs })
  }
  await sleep(SETTLE_MS)
  const after = await peer.ask('memory', { collect: true })
  const start = await peer.ask('cpu')
  await sleep(CPU_MS)
  const cpu = (await peer.ask('cpu')) - start
  return {
    rss: (after.rss - before.rss) / SOCKETS / 1024,
    heap: (after.heap - before.heap) / SOCKETS / 1024,
    cpu: cpu / CPU_MS,
  }
}
