import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { median, percentile, table } from '../support/figures.ts'
import { atMost, atMostKiB, atMostMs, notAsked } from '../support/verdicts.ts'
import { MeasuredServer } from './measured-server.ts'

const WAITING = 1_000
const RUNNING = 50
const MEASURED = 200
/** Between two measured requests. Each of them begins a run, whose first command takes two processors for milliseconds. */
const BETWEEN_MS = 100
/** What a new run appends to the log, about. */
const APPENDED_BYTES = 8 * 1024
/** For the checks at the beginning of runs. */
const SETTLE_MS = 5_000
const ASKED = { createMs: 5, waitingKiB: 150 }

type Times = { readonly creating: number[]; readonly writing: number[] }

const appended = Buffer.alloc(APPENDED_BYTES, 'x')

/** Milliseconds until an append to a file is on the disk. */
function write(file: number): number {
  const began = performance.now()
  writeSync(file, appended)
  fdatasyncSync(file)
  return performance.now() - began
}

/** What it costs to create a run, and what a run costs, while many wait for their model and some run commands. */
export async function whileOthersWait(
  program: string,
  modelUrl: string,
  folder: string,
): Promise<string> {
  await using server = await MeasuredServer.start(program, modelUrl, { folder, ballastMiB: 0 })
  const disk = openSync(join(folder, 'disk'), 'w')
  const create = async (): Promise<Times> => {
    const times: Times = { creating: [], writing: [] }
    for (let run = 0; run < MEASURED; run += 1) {
      times.creating.push(await server.createRun('slow'))
      await delay(BETWEEN_MS / 2)
      times.writing.push(write(disk))
      await delay(BETWEEN_MS / 2)
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
  closeSync(disk)
  const eachKiB = (1024 * (after.rssMiB - before.rssMiB)) / (WAITING - MEASURED)
  const ratio = median(busy.creating) / median(idle.creating)
  return [
    table(
      ['what', 'value', 'in an idle server', 'asked', 'measured', 'held'],
      [
        row(
          'creating a run, p99',
          percentile(busy.creating, 0.99),
          percentile(idle.creating, 0.99),
          atMostMs(percentile(busy.creating, 0.99), ASKED.createMs),
        ),
        row(
          'creating a run, median',
          median(busy.creating),
          median(idle.creating),
          notAsked(atMost(ratio, 1)),
        ),
        ...[0.99, 0.5].map((part) => [
          `writing ${APPENDED_BYTES / 1024} KiB to the disk, ${part === 0.5 ? 'median' : 'p99'}`,
          ...[busy, idle].map(({ writing }) => `${percentile(writing, part).toFixed(1)} ms`),
          ...['', '', ''],
        ]),
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
    `apart, so ${1000 / BETWEEN_MS} a second; idle is the same server with the first ${MEASURED}. A created run begins at once with the check of its goal, a`,
    'command. It is answered when it is on the disk: between two of them, the bench itself writes to that disk (`fdatasync`). The',
    'memory is the growth of RSS with the waiting runs, after a collection.',
  ].join('\n')
}

const row = (name: string, busy: number, idle: number, verdict: readonly string[]): string[] => [
  name,
  `${busy.toFixed(1)} ms`,
  `${idle.toFixed(1)} ms`,
  ...verdict,
]
