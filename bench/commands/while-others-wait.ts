import { Agent } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startProcess } from '../loop/start-process.ts'
import { median, percentile, table } from '../support/figures.ts'
import { atMost, atMostKiB, atMostMs, notAsked } from '../support/verdicts.ts'
import { MeasuredServer, timeToCreate } from './measured-server.ts'

const WAITING = 1_000
const RUNNING = 50
const MEASURED = 200
/** Between two measured requests. Each of them begins a run, whose first command takes two processors for milliseconds. */
const BETWEEN_MS = 100
/** For the checks at the beginning of runs. */
const SETTLE_MS = 5_000
const ASKED = { createMs: 5, waitingKiB: 150 }

/** Milliseconds of requests to both servers, which take turns. */
type Times = { readonly ours: number[]; readonly bare: number[] }

/** What creating a run costs, and how much memory a run takes, while many wait for their model and some run commands. */
export async function whileOthersWait(
  program: string,
  modelUrl: string,
  folder: string,
): Promise<string> {
  await using server = await MeasuredServer.start(program, modelUrl, { folder, ballastMiB: 0 })
  const module = new URL('./bare-create-process.ts', import.meta.url)
  await using bare = await startProcess(module, [join(folder, 'bare.sqlite')])
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const create = async (): Promise<Times> => {
    const times: Times = { ours: [], bare: [] }
    for (let run = 0; run < MEASURED; run += 1) {
      times.ours.push(await server.createRun('slow'))
      await delay(BETWEEN_MS / 2)
      times.bare.push(await timeToCreate(bare.url, agent, { goal: 'make-test' }))
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
  agent.destroy()
  const eachKiB = (1024 * (after.rssMiB - before.rssMiB)) / (WAITING - MEASURED)
  const ratio = median(busy.ours) / median(idle.ours)
  return [
    table(
      ['creating a run', 'while others wait', 'bare', 'in an idle server', 'asked', 'measured'],
      [
        row('p99', 0.99, { busy, idle }, atMostMs(percentile(busy.ours, 0.99), ASKED.createMs)),
        row('median', 0.5, { busy, idle }, notAsked(atMost(ratio, 1))),
      ],
    ),
    '',
    table(
      ['what', 'asked', 'measured'],
      [['memory of a waiting run', ...atMostKiB(eachKiB, ASKED.waitingKiB)]],
    ),
    '',
    `${WAITING} runs wait for a model that does not answer, ${RUNNING} run a command. ${MEASURED} more are created one after another, ${BETWEEN_MS} ms`,
    `apart; idle is the same server while it creates the first ${MEASURED}. A created run begins at once with the check of its`,
    'goal, which is a command. Halfway between two runs, a bare fastify server in a process of its own is asked, which stores 8 KiB with one',
    'commit of `node:sqlite`. The memory is how much RSS grows with the waiting runs, after a collection.',
  ].join('\n')
}

function row(
  name: string,
  part: number,
  { busy, idle }: { readonly busy: Times; readonly idle: Times },
  verdict: readonly string[],
): string[] {
  const figures = [busy.ours, busy.bare, idle.ours]
  return [name, ...figures.map((times) => `${percentile(times, part).toFixed(1)} ms`), ...verdict]
}
