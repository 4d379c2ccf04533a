import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type ServerProcess, startServerProcess } from '../../examples/demo/server.ts'
import { startProcess } from '../loop/start-process.ts'
import { CONTENT, FILE, PROMPT } from '../loop/script.ts'
import { inTemporaryFolder } from '../support/temporary-folder.ts'
import { median, table } from '../support/figures.ts'
import { atMost } from '../support/verdicts.ts'

const ENDPOINT = new URL('../loop/endpoint-process.ts', import.meta.url)
/** A soak of both servers at the same time. */
const SECONDS = 60
const RUNS_PER_SECOND = 3
const SAMPLE_MS = 250
const ASKED = 1.1
const ASKED_GROWTH = 1.1

/**
 * The memory of a server on an EventStoreDB and of one on the embedded store, while both work on three runs a second:
 * the resident memory of the last third of the soak, and against the third before, whether it grows.
 */
export async function memoryBench(connectionString: string, seconds = SECONDS): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    await using model = await startProcess(ENDPOINT)
    const project = join(folder, 'project')
    await mkdir(project)
    await writeFile(join(project, FILE), CONTENT)
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
      const mib = (kib: number): string => (kib / 1024).toFixed(0)
      return table(
        ['resident memory', 'MiB in the middle', 'MiB at the end', 'asked', 'measured', 'held'],
        [
          ['embedded store', mib(embedded.middle), mib(embedded.end), '', '', ''],
          [
            'EventStoreDB, against the embedded store',
            ...[mib(ours.middle), mib(ours.end)],
            ...atMost(ours.end / embedded.end, ASKED),
          ],
          ['EventStoreDB, end against middle', '', '', ...atMost(ours.end / ours.middle, ASKED_GROWTH)],
        ],
      )
    } finally {
      await Promise.all(servers.map((server) => server.stop()))
    }
  })
}

/** Medians of the resident memory in KiB, in the second and in the last third. */
async function soak({ url, process: child }: ServerProcess, project: string, seconds: number) {
  const samples: number[] = []
  const end = performance.now() + seconds * 1_000
  const body = JSON.stringify({
    ...{ goal: 'shell-goal', cwd: project, instructions: PROMPT, max_iterations: 20 },
    shell_goal: { check_command: 'true' },
  })
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
  return { middle: median(samples.slice(third, 2 * third)), end: median(samples.slice(2 * third)) }
}

async function residentKiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1])
}
