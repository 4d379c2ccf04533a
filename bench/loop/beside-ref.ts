import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type Peer, startPeer } from '../support/calls.ts'
import { sourcesOf } from '../support/earlier-commit.ts'
import { median, table } from '../support/figures.ts'
import { atMost, notAsked } from '../support/verdicts.ts'
import { contender, type Places, startServer } from './beside-opencode.ts'
import { type Contender, compare } from './compare.ts'
import { must } from './must.ts'
import type { Cost } from './own-share.ts'
import { runOnRetrai } from './retrai-client.ts'
import { ITERATIONS } from './script.ts'
import type { SideOperations, Work } from './side-process.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const AT_ONCE = [1, 32]
const ROUNDS = 5
/** Rounds that do not count. */
const WARM_UP = 1
const [FEWEST, FOR_EACH] = [20, 4]
/** The limit: a step takes no longer than at that commit. */
const ASKED = 1

type Row = readonly [what: string, before: number, now: number, ratio: number, asked?: boolean]

/** The loop beside that of an earlier commit, each with its own server. Returns Markdown. */
export const besideRef =
  (ref: string) =>
  async (places: Places): Promise<string> => {
    const root = join(places.folder, 'sources')
    await sourcesOf(ref, root)
    const rows = [...(await overHttp(root, places)), ...(await withoutServer(root, places))]
    const cells = rows.map(([what, before, now, ratio, asked = true]) => {
      const verdict = atMost(ratio, ASKED)
      return [what, before.toFixed(2), now.toFixed(2), ...(asked ? verdict : notAsked(verdict))]
    })
    const head = ['of one step', ref, 'now', 'ratio asked', 'measured', 'held']
    return [table(head, cells), '', NOTES].join('\n')
  }

async function overHttp(root: string, { folder, project, modelUrl }: Places): Promise<Row[]> {
  const module = pathToFileURL(join(root, 'bench/loop/server-process.ts'))
  await using now = await startServer(join(folder, 'now'), modelUrl)
  await using before = await startServer(join(folder, 'before'), modelUrl, module)
  const ours = contender((signal) => runOnRetrai(now.url, project, { signal }), FEWEST, FOR_EACH)
  const theirs = await contenderBefore(before.url, project)
  for (const warmed of await compare([theirs, ours], { atOnce: 32, rounds: WARM_UP })) must(warmed)
  const rows: Row[] = []
  for (const atOnce of AT_ONCE) {
    const figures = await compare([theirs, ours], { atOnce, rounds: ROUNDS })
    const [early = NaN, late = NaN] = figures.map((each) => must(each).msPerStep)
    rows.push([`over HTTP, ${atOnce} at once: ms`, early, late, late / early])
  }
  return rows
}

/** Servers whose iterations have one turn refuse a limit of turns, and ask for no summary at the end. */
async function contenderBefore(url: string, project: string): Promise<Contender> {
  const run = (signal: AbortSignal, limits?: object) =>
    runOnRetrai(url, project, { signal, ...(limits && { limits }) })
  const signal = AbortSignal.timeout(60_000)
  const manyTurns = await run(signal).then(
    () => true,
    () => false,
  )
  if (manyTurns) return contender((signal) => run(signal), FEWEST, FOR_EACH)
  return { ...contender((signal) => run(signal, {}), FEWEST, FOR_EACH), steps: ITERATIONS }
}

async function withoutServer(root: string, places: Places): Promise<Row[]> {
  await using before = await side(root, 'before', places)
  await using now = await side(ROOT, 'now', places)
  const rows: Row[] = []
  for (const work of ['own', 'whole'] as const) {
    for (const atOnce of AT_ONCE) rows.push(...(await rounds({ before, now }, { work, atOnce })))
  }
  return rows
}

function side(root: string, name: string, { folder, project, modelUrl }: Places) {
  const module = new URL('./side-process.ts', import.meta.url)
  const args = [root, join(folder, `${name}-alone`), modelUrl, project]
  return startPeer<SideOperations>(module, args)
}

async function rounds(
  { before, now }: Record<'before' | 'now', Peer<SideOperations>>,
  { work, atOnce }: { readonly work: Work; readonly atOnce: number },
): Promise<Row[]> {
  const pairs: (readonly [before: Cost, now: Cost])[] = []
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    const asked = { work, atOnce, runs: FEWEST + FOR_EACH * atOnce }
    pairs.push([await before.ask('round', asked), await now.ask('round', asked)])
  }
  const counted = pairs.slice(WARM_UP)
  return (['ms', 'cpuMs'] as const).map((measure) => [
    `${NAMES[work]}, ${atOnce} at once: ${measure === 'ms' ? 'ms' : 'processor ms'}`,
    median(counted.map(([early]) => early[measure])),
    median(counted.map(([, late]) => late[measure])),
    median(counted.map(([early, late]) => late[measure] / early[measure])),
    measure === 'ms',
  ])
}

const NAMES = { own: 'our own code', whole: 'all of it' } as const

const NOTES = `Medians of ${ROUNDS} rounds, in which the two take turns. Both run from their sources with the same dependencies. A step is one model
call with everything that belongs to it: over HTTP as beside opencode, otherwise in a process without a server, as in the shares
above. A ratio without HTTP is the median of the rounds' ratios. Processor time is that of all threads of the process; other load
on the machine changes it less. With one run at once, it includes up to half a millisecond for each append in which the thread stays awake for the answer.`
