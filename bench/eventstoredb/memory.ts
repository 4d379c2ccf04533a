import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import * as z from 'zod'
import { type ServerProcess, startServerProcess } from '../../examples/demo/server.ts'
import { CONTENT, FILES, PROMPT } from '../loop/script.ts'
import { startProcess } from '../loop/start-process.ts'
import { median, table } from '../support/figures.ts'
import { inTemporaryFolder } from '../support/temporary-folder.ts'
import { atMost } from '../support/verdicts.ts'

const ENDPOINT = new URL('../loop/endpoint-process.ts', import.meta.url)
/** A soak of both servers at the same time. Their memory grows for about the first 50 seconds. */
export const SOAK_SECONDS = 120
const RUNS_PER_SECOND = 3
const SAMPLE_MS = 250
const ASKED = 1.1
const ASKED_GROWTH = 1.1

/**
 * The memory of a server on an EventStoreDB and of one on the embedded store, while both work on three runs a second:
 * the resident memory in the last third of the soak, and its growth since the middle third.
 */
export async function memoryBench(
  connectionString: string,
  seconds = SOAK_SECONDS,
): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    await using model = await startProcess(ENDPOINT)
    const project = join(folder, 'project')
    await mkdir(project)
    for (const file of FILES) await writeFile(join(project, file), CONTENT)
    await writeFile(join(project, '.retrai.yml'), 'check_command: "true"\n')
    const serve = (name: string, ...more: string[]) =>
      startServerProcess(['--port', '0', '--data-dir', join(folder, name), ...more], {
        PATH: process.env.PATH,
        HOME: folder,
        RETRAI_LLM_BASE_URL: model.url,
        RETRAI_ISOLATION: 'none',
      })
    const servers = [await serve('embedded'), await serve('esdb', '--store', connectionString)]
    try {
      const [embedded, ours] = await Promise.all(
        servers.map((server) => soak(server, project, seconds)),
      )
      if (embedded === undefined || ours === undefined) throw new Error('there are two servers')
      const shared = atMost(ours.end / embedded.end, ASKED)
      const growth = atMost(ours.end / ours.middle, ASKED_GROWTH)
      const head = ['runs', 'MiB in the middle', 'MiB at the end', 'asked', 'measured', 'held']
      return table(
        ['resident memory', ...head],
        [
          ['embedded store', ...figuresOf(embedded), '', '', ''],
          ['EventStoreDB, against the embedded store', ...figuresOf(ours), ...shared],
          ['EventStoreDB, end against middle', '', '', '', ...growth],
        ],
      )
    } finally {
      await Promise.all(servers.map((server) => server.stop()))
    }
  })
}

/** How many runs have ended, and medians of the resident memory in KiB, in the second and in the last third. */
type Soak = { readonly runs: number; readonly middle: number; readonly end: number }

const figuresOf = ({ runs, middle, end }: Soak): string[] => [
  String(runs),
  ...[middle, end].map((kib) => (kib / 1024).toFixed(0)),
]

async function soak(
  { url, process: child }: ServerProcess,
  project: string,
  seconds: number,
): Promise<Soak> {
  const samples: number[] = []
  const end = performance.now() + seconds * 1_000
  const asked = { goal: 'shell-goal', cwd: project, instructions: PROMPT, max_iterations: 20 }
  const body = JSON.stringify(asked)
  const create = async (): Promise<void> => {
    for (let at = performance.now(); at < end; at += 1_000 / RUNS_PER_SECOND) {
      await delay(Math.max(0, at - performance.now()))
      const response = await fetch(`${url}/api/runs`, {
        ...{ method: 'POST', headers: { 'content-type': 'application/json' }, body },
      })
      if (!response.ok) throw new Error(await response.text())
      await response.body?.cancel()
    }
  }
  const created = create()
  while (performance.now() < end) {
    samples.push(await residentKiB(child.pid ?? 0))
    await delay(SAMPLE_MS)
  }
  await created
  const third = Math.floor(samples.length / 3)
  return {
    runs: await endedRuns(url),
    middle: median(samples.slice(third, 2 * third)),
    end: median(samples.slice(2 * third)),
  }
}

const Ended = z.array(z.object({ run_id: z.string() }))

async function endedRuns(url: string): Promise<number> {
  const answer = await fetch(`${url}/api/runs?status=achieved&limit=1000`)
  return Ended.parse(await answer.json()).length
}

async function residentKiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1])
}
