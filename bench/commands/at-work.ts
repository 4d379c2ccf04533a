import { setTimeout as delay } from 'node:timers/promises'
import { percentile, table } from '../support/figures.ts'
import { below } from '../support/verdicts.ts'
import { MeasuredServer } from './measured-server.ts'

const RUNS = 48
const BALLAST_MIB = 450
const SETTLE_MS = 3_000
const MEASURE_MS = 12_000
const BETWEEN_MS = 4
const ASKED = { loopMs: 10, requestMs: 20 }

/** How fast a large server answers while many runs work on short commands. */
export async function atWork(program: string, modelUrl: string, folder: string): Promise<string> {
  const places = { folder, ballastMiB: BALLAST_MIB }
  await using server = await MeasuredServer.start(program, modelUrl, places)
  for (let run = 0; run < RUNS; run += 1) await server.createRun('commands')
  await delay(SETTLE_MS)
  const times: number[] = []
  const { loopP99Ms, rssMiB } = await server.measure(async () => {
    const until = performance.now() + MEASURE_MS
    while (performance.now() < until) {
      times.push((await server.get('/health/live')).ms)
      await delay(BETWEEN_MS)
    }
  })
  return [
    table(
      ['what', 'p99 asked', 'measured', 'held'],
      [
        ['delay of the event loop', ...below(loopP99Ms, ASKED.loopMs)],
        ['`GET /health/live`', ...below(percentile(times, 0.99), ASKED.requestMs)],
      ],
    ),
    '',
    `${RUNS} runs, each with one command after another, in a server of ${rssMiB.toFixed(0)} MiB (${BALLAST_MIB} of them ballast), at the`,
    `best level of isolation of this machine, for ${MEASURE_MS / 1000} s. One client asks every ${BETWEEN_MS} ms over one connection.`,
  ].join('\n')
}
