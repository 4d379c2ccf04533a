import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ResultAsync } from 'neverthrow'
import { messageOf } from '../../src/lib/message-of.ts'
import { checkSession, runOnOpencode } from '../peer-opencode/client.ts'
import { installOpencode, OPENCODE_VERSION } from '../peer-opencode/install.ts'
import { startOpencode } from '../peer-opencode/server.ts'
import { builtProcess } from '../support/built-process.ts'
import { table } from '../support/figures.ts'
import { type Contender, compare, type Figures } from './compare.ts'
import { must } from './must.ts'
import { runOnRetrai } from './retrai-client.ts'
import { ITERATIONS } from './script.ts'
import { type ServerProcess, startProcess } from './start-process.ts'

const AT_ONCE = [1, 8, 32]
const ROUNDS = 5
/** How many times better than opencode the loop must be. */
const ASKED = 10
/** Rounds that do not count: at first, both sides load modules and compile code. */
const WARM_UP = { atOnce: 32, rounds: 1 }
/** Longest time of opencode's first run, milliseconds. */
const FIRST_RUN_MS = 60_000

/** What the parts of this bench share: a folder for data, the project of the runs, and the model. */
export type Places = {
  readonly folder: string
  readonly project: string
  readonly modelUrl: string
}

/** Both servers do the same runs, asked over HTTP, against the same model. Returns Markdown. */
export async function besideOpencode(places: Places): Promise<string> {
  const { folder, project, modelUrl } = places
  await using retrai = await startServer(join(folder, 'retrai'), modelUrl)
  await using opencode = await startPeer(places)
  const own = contender((signal) => runOnRetrai(retrai.url, project, { signal }), 20, 4)
  const peer = opencode.isOk() ? [opencode.value] : []
  const rows: string[][] = []
  const [, warmed] = await compare([own, ...peer], WARM_UP)
  let missing = opencode.isErr() ? opencode.error : warmed?.isErr() ? warmed.error : null
  for (const atOnce of AT_ONCE) {
    const contenders = missing === null ? [own, ...peer] : [own]
    const [ours, theirs] = await compare(contenders, { atOnce, rounds: ROUNDS })
    if (theirs?.isErr()) missing = `With ${atOnce} runs at once: ${theirs.error}`
    if (ours !== undefined) rows.push(...lines(atOnce, must(ours), theirs?.unwrapOr(undefined)))
  }
  if (missing !== null) console.warn(`opencode is NOT measured: ${missing}`)
  const head = ['runs at once', 'measure', 'retrAI', 'opencode', 'times better', 'asked']
  const note = missing === null ? [] : [`**opencode could not be measured:** ${missing}\n`]
  return [table(head, rows), '', ...note, NOTES].join('\n')
}

/** Builds the server and starts it in a process of its own. @param collector of traces, if they are exported */
export async function startServer(
  data: string,
  modelUrl: string,
  ...collector: readonly string[]
): Promise<ServerProcess> {
  await mkdir(data)
  const module = await builtProcess(join(data, 'built'), 'bench/loop/server-process.ts')
  return await startProcess(module, [data, modelUrl, ...collector])
}

/** Both servers ask the model once more after the last iteration: retrAI for a summary, opencode with the last result. */
export const contender = (
  runOnce: Contender['runOnce'],
  ...[fewest, forEach]: readonly [fewest: number, forEach: number]
): Contender => ({
  runOnce,
  steps: ITERATIONS + 1,
  runsPerRound: (atOnce) => fewest + forEach * atOnce,
})

/** opencode, once it has done one run correctly, or the reason why it cannot be measured. */
async function startPeer(places: Places) {
  const own = { ...places, folder: join(places.folder, 'opencode') }
  const started = await installOpencode().andThen((program) =>
    ResultAsync.fromPromise(startOpencode(program, own), messageOf),
  )
  const checked = await started.asyncAndThen(({ url }) =>
    ResultAsync.fromPromise(checkOpencode(url), messageOf),
  )
  const peer = checked.map((url) => contender((signal) => runOnOpencode(url, signal), 4, 1))
  return Object.assign(peer, {
    async [Symbol.asyncDispose]() {
      if (started.isOk()) await started.value[Symbol.asyncDispose]()
    },
  })
}

async function checkOpencode(url: string): Promise<string> {
  const signal = AbortSignal.timeout(FIRST_RUN_MS)
  await checkSession(url, await runOnOpencode(url, signal), signal)
  return url
}

function lines(atOnce: number, own: Figures, peer: Figures | undefined): string[][] {
  const line = (measure: string, mine: number, other?: number, times?: number): string[] => [
    String(atOnce),
    measure,
    mine.toFixed(1),
    other?.toFixed(1) ?? '–',
    ...(times === undefined ? ['not measured', `≥ ${ASKED}×`] : timesBetter(times)),
  ]
  if (peer === undefined) {
    return [line('ms a step', own.msPerStep), line('runs/s', own.runsPerSecond)]
  }
  return [
    line('ms a step', own.msPerStep, peer.msPerStep, peer.msPerStep / own.msPerStep),
    line('runs/s', own.runsPerSecond, peer.runsPerSecond, own.runsPerSecond / peer.runsPerSecond),
  ]
}

function timesBetter(times: number): readonly string[] {
  const better = `${times.toFixed(times < 10 ? 1 : 0)}×`
  return [times >= ASKED ? better : `**${better}**`, `≥ ${ASKED}×`]
}

const NOTES = `A step is one model call with everything that belongs to it: the median time of a run divided by its ${ITERATIONS + 1} steps. Each server is
one process, the model, which answers at once, is another, and this driver a third.

- **retrAI**: \`POST /api/runs\`, then a WebSocket that delivers \`run_end\`. In each iteration one model call, one \`file_read\` and the check of a
  goal that costs nothing; every record is on the disk before the next step, and is projected.
- **opencode ${OPENCODE_VERSION}** (\`opencode serve\`): \`POST /session\`, then \`POST /session/{id}/message\`. Switched off: snapshots, sharing, updates,
  plugins, language servers, formatters and the file watcher. What remains different: streamed replies, a longer prompt, and
  that not each commit is on the disk.`
