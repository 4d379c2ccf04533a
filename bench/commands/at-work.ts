import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { percentile, table } from '../support/figures.ts'
import { below } from '../support/verdicts.ts'
import { MeasuredServer, type Model } from './measured-server.ts'

const RUNS = 48
const BALLAST_MIB = 450
const SETTLE_MS = 3_000
const MEASURE_MS = 12_000
const BETWEEN_MS = 4
const ASKED = { loopMs: 10, requestMs: 20 }

type Measured = { readonly loopP99Ms: number; readonly getP99Ms: number; readonly rssMiB: number }

/** How fast a large server answers while many runs work on commands: short ones, and ones that only compute. */
export async function atWork(program: string, modelUrl: string, folder: string): Promise<string> {
  const measured = async (model: Model): Promise<Measured> => {
    const place = join(folder, model)
    await mkdir(place)
    const options = { folder: place, ballastMiB: BALLAST_MIB }
    await using server = await MeasuredServer.start(program, modelUrl, options)
    for (let run = 0; run < RUNS; run += 1) await server.createRun(model)
    await delay(SETTLE_MS)
    return await measure(server)
  }
  const short = await measured('commands')
  const busy = await measured('busy')
  const rows = (name: string, { loopP99Ms, getP99Ms }: Measured): string[][] => [
    [name, 'delay of the event loop', ...below(loopP99Ms, ASKED.loopMs)],
    [name, '`GET /health/live`', ...below(getP99Ms, ASKED.requestMs)],
  ]
  return [
    table(
      ['commands', 'what', 'p99 asked', 'measured'],
      [...rows('short', short), ...rows('that compute', busy)],
    ),
    '',
    `${RUNS} runs, each with one short command after another or with one that only computes, in a server of ${short.rssMiB.toFixed(0)} MiB (${BALLAST_MIB} of`,
    `them ballast), at the best level of isolation of this machine, for ${MEASURE_MS / 1000} s each. One client asks every ${BETWEEN_MS} ms over one`,
    'connection.',
  ].join('\n')
}

async function measure(server: MeasuredServer): Promise<Measured> {
  const times: number[] = []
  const measured = await server.measure(async () => {
    const until = performance.now() + MEASURE_MS
    while (performance.now() < until) {
      times.push((await server.get('/health/live')).ms)
      await delay(BETWEEN_MS)
    }
  })
  return { ...measured, getP99Ms: percentile(times, 0.99) }
}
