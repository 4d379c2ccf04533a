import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { checkSession, runOnOpencode } from '../peer-opencode/client.ts'
import { installOpencode, OPENCODE_VERSION } from '../peer-opencode/install.ts'
import { startOpencode } from '../peer-opencode/server.ts'
import { table } from '../support/figures.ts'
import { type Contender, compare, type Figures } from './compare.ts'
import { runOnRetrai } from './retrai-client.ts'
import { ITERATIONS } from './script.ts'
import { type ServerProcess, startProcess } from './start-process.ts'
import { timesBetter } from './verdicts.ts'

const AT_ONCE = [1, 8, 32]
const ROUNDS = 5
/** How many times better than opencode the loop must be. */
const ASKED = 10
/** Rounds that do not count: both load their parts and compile their code as they first work. */
const WARM_UP = { atOnce: 32, rounds: 2 }

/** Both servers do the same runs, asked over HTTP, against the same model. Returns Markdown. */
export async function besideOpencode(
  folder: string,
  project: string,
  modelUrl: string,
): Promise<string> {
  const data = join(folder, 'retrai')
  await mkdir(data)
  await using retrai = await startServer(data, modelUrl)
  const installed = await installOpencode()
  const skipped = installed.isErr() ? installed.error : null
  if (skipped !== null) console.warn(`opencode is NOT measured: ${skipped}`)
  const places = { folder: join(folder, 'opencode'), project, modelUrl }
  await using opencode = installed.isOk() ? await startOpencode(installed.value, places) : null

  const contenders = [ours(retrai.url, project), ...(opencode ? [await theirs(opencode.url)] : [])]
  await compare(contenders, WARM_UP)
  const rows: string[][] = []
  for (const atOnce of AT_ONCE) {
    const [own, peer] = await compare(contenders, { atOnce, rounds: ROUNDS })
    if (own !== undefined) rows.push(...lines(atOnce, own, peer))
  }
  const head = ['runs at once', 'measure', 'retrAI', 'opencode', 'times better', 'asked', 'held?']
  return [table(head, rows), '', ...(skipped === null ? [] : [notMeasured(skipped)]), NOTES].join(
    '\n',
  )
}

const startServer = (data: string, modelUrl: string): Promise<ServerProcess> =>
  startProcess(new URL('./server-process.ts', import.meta.url), [data, modelUrl])

function ours(url: string, project: string): Contender {
  return {
    runOnce: () => runOnRetrai(url, project),
    // After the last iteration it asks the model once more, for a summary.
    steps: ITERATIONS + 1,
    runsPerRound: (atOnce) => 40 + 10 * atOnce,
  }
}

async function theirs(url: string): Promise<Contender> {
  await checkSession(url, await runOnOpencode(url))
  return {
    runOnce: () => runOnOpencode(url),
    // After the last tool result it calls the model once more, which answers that all is done.
    steps: ITERATIONS + 1,
    runsPerRound: (atOnce) => 4 + atOnce,
  }
}

function lines(atOnce: number, own: Figures, peer: Figures | undefined): string[][] {
  const line = (measure: string, mine: number, other?: number, times?: number): string[] => [
    String(atOnce),
    measure,
    mine.toFixed(1),
    other?.toFixed(1) ?? '–',
    ...(times === undefined ? ['–', `≥ ${ASKED}×`, 'not measured'] : timesBetter(times, ASKED)),
  ]
  if (peer === undefined) {
    return [line('ms a step', own.msPerStep), line('runs/s', own.runsPerSecond)]
  }
  return [
    line('ms a step', own.msPerStep, peer.msPerStep, peer.msPerStep / own.msPerStep),
    line('runs/s', own.runsPerSecond, peer.runsPerSecond, own.runsPerSecond / peer.runsPerSecond),
  ]
}

const notMeasured = (reason: string): string =>
  `**opencode could not be measured on this machine:** ${reason}\n`

const NOTES = `Medians of ${ROUNDS} rounds, in which the two take turns; the given number of runs is always under way. A
step is one model call with everything that belongs to it. The time of a step is the median time of a run
divided by its number of steps: ${ITERATIONS + 1}, since both ask the model once more after the last result (retrAI for a
summary). Each server is one process, the model is another, and this driver a third: it starts runs over
HTTP and learns of their end over HTTP. The model answers at once, both read the same small file.

- **retrAI**: \`POST /api/runs\`, then a WebSocket that delivers \`run_end\`. In each iteration one model
  call, one \`file_read\` and the check of a goal that costs nothing; every record is on the disk
  (\`synchronous = FULL\`) before the next step, and is projected. The server works on 16 runs at once
  by default; here it may work on 64, so that none waits for its turn.
- **opencode ${OPENCODE_VERSION}** (\`opencode serve\`): \`POST /session\`, then \`POST /session/{id}/message\`, which
  answers when the model reports that it is done. Five times one model call and one \`read\`, then a last
  model call. Switched off: snapshots, sharing, updates, plugins, language servers, formatters, the file
  watcher and looking up models; it gets a title, so that it need not ask a model for one; the
  project is not a git repository. What remains different: streamed replies, a longer prompt, events on its
  bus, and its SQLite file (\`synchronous = NORMAL\`, so not on the disk with each commit).`
