import { setTimeout as delay } from 'node:timers/promises'
import { median, percentile, table } from '../support/figures.ts'
import { atMost, atMostKiB, atMostMs, notAsked } from '../support/verdicts.ts'
import { MeasuredServer } from './measured-server.ts'

const WAITING = 1_000
const RUNNING = 50
const MEASURED = 200
/** Between two measured requests, so that the run of one has begun before the next. */
const BETWEEN_MS = 30
/** For the checks at the beginning of runs. */
const SETTLE_MS = 5_000
const ASKED = { createMs: 5, waitingKiB: 150 }

/** What it costs to create a run, and what a run costs, while many wait for their model and some run commands. */
export async function whileOthersWait(
  program: string,
  modelUrl: string,
  folder: string,
): Promise<string> {
  await using server = await MeasuredServer.start(program, modelUrl, { folder, ballastMiB: 0 })
  const create = async (): Promise<number[]> => {
    const times: number[] = []
    for (let run = 0; run < MEASURED; run += 1) {
      times.push(await server.createRun('slow'))
      await delay(BETWEEN_MS)
    }
    return times
  }
  const settled = (): Promise<void> => delay(SETTLE_MS)
  for (let run = 0; run < 20; run += 1) await server.createRun('slow')
  await settled()
  const idle = await create()
  const before = await server.measure(settled)
  for (let run = MEASURED; run < WAITING; run += 1) await server.createRun('slow')
  const after = await server.measure(settled)
  for (let run = 0; run < RUNNING; run += 1) await server.createRun('sleep')
  await settled()
  const busy = await create()
  const eachKiB = (1024 * (after.rssMiB - before.rssMiB)) / (WAITING - MEASURED)
  const ratio = median(busy) / median(idle)
  return [
    table(
      ['what', 'value', 'in an idle server', 'asked', 'measured', 'held'],
      [
        row(
          'creating a run, p99',
          percentile(busy, 0.99),
          percentile(idle, 0.99),
          atMostMs(percentile(busy, 0.99), ASKED.createMs),
        ),
        row('creating a run, median', median(busy), median(idle), notAsked(atMost(ratio, 1))),
        [
          'memory of a waiting run',
          `${eachKiB.toFixed(0)} KiB`,
          '',
          ...atMostKiB(eachKiB, ASKED.waitingKiB),
        ],
      ],
    ),
    '',
    `${WAITING} runs wait for a model that does not answer, ${RUNNING} run a command. ${MEASURED} more are created one after the other, ${BETWEEN_MS} ms`,
    `apart; idle is the same server with the first ${MEASURED}. A created run begins at once with the check of its goal, a command. The`,
    'memory is the growth of RSS with the waiting runs, after a collection.',
  ].join('\n')
}

const row = (name: string, busy: number, idle: number, verdict: readonly string[]): string[] => [
  name,
  `${busy.toFixed(1)} ms`,
  `${idle.toFixed(1)} ms`,
  ...verdict,
]
