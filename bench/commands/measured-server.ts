import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { Agent, type RequestOptions, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'
import { type ServerProcess, startServerProcess } from '../../examples/demo/server.ts'

const Report = z.object({ loopP99Ms: z.number(), rssMiB: z.number() })
const Created = z.object({ run_id: z.string() })
const POLL_MS = 20

export type Model = 'slow' | 'sleep' | 'commands' | 'busy'

/** The built server with a scripted model, whose event loop and memory are measured from within. */
export class MeasuredServer {
  readonly #server: ServerProcess
  readonly #report: string
  readonly #project: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })

  private constructor(server: ServerProcess, report: string, project: string) {
    this.#server = server
    this.#report = report
    this.#project = project
  }

  /** @param ballastMiB by how much the process is made larger */
  static async start(
    program: string,
    modelUrl: string,
    { folder, ballastMiB }: { readonly folder: string; readonly ballastMiB: number },
  ): Promise<MeasuredServer> {
    const project = join(folder, 'project')
    await mkdir(project, { recursive: true })
    await writeFile(join(project, 'Makefile'), 'test:\n\t@exit 1\n')
    const report = join(folder, 'report.json')
    const server = await startServerProcess(
      ['--port', '0', '--data-dir', join(folder, 'data')],
      {
        PATH: process.env.PATH,
        NODE_OPTIONS: `--import=${fileURLToPath(new URL('./preload.mjs', import.meta.url))}`,
        BENCH_BALLAST_MIB: String(ballastMiB),
        BENCH_REPORT: report,
        RETRAI_LLM_BASE_URL: modelUrl,
        RETRAI_MAX_RUNS_AT_WORK: '2000',
      },
      program,
    )
    const measured = new MeasuredServer(server, report, project)
    while ((await measured.get('/health/ready')).status !== 200) await delay(POLL_MS)
    return measured
  }

  /** Creates a run; resolves to the milliseconds until the answer. */
  async createRun(model: Model): Promise<number> {
    return timeToCreate(this.#server.url, this.#agent, {
      goal: 'make-test',
      cwd: this.#project,
      model_name: `openai/${model}`,
      max_turns_per_iteration: 10_000,
    })
  }

  /** What the server measured of itself meanwhile. */
  async measure(meanwhile: () => Promise<void>): Promise<z.infer<typeof Report>> {
    await rm(this.#report, { force: true })
    this.#server.process.kill('SIGUSR2')
    await meanwhile()
    this.#server.process.kill('SIGUSR2')
    for (;;) {
      const text = await readFile(this.#report, 'utf8').catch(() => null)
      if (text !== null) return Report.parse(JSON.parse(text))
      await delay(POLL_MS)
    }
  }

  /** Asks for a path. */
  get(path: string): Promise<Answer> {
    return answerOf(`${this.#server.url}${path}`, { method: 'GET', agent: this.#agent })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy()
    await this.#server.stop()
  }
}

/**
 * Asks a server to create a run.
 * @returns milliseconds until the answer
 * @throws if it is not created
 */
export async function timeToCreate(url: string, agent: Agent, run: object): Promise<number> {
  const headers = { 'content-type': 'application/json' }
  const options = { method: 'POST', headers, agent }
  const { status, text, ms } = await answerOf(`${url}/api/runs`, options, JSON.stringify(run))
  if (status !== 201) throw new Error(text)
  Created.parse(JSON.parse(text))
  return ms
}

type Answer = { readonly status: number; readonly text: string; readonly ms: number }

function answerOf(url: string, options: RequestOptions, body?: string): Promise<Answer> {
  const began = performance.now()
  return new Promise((resolve, reject) => {
    const asked = request(url, options)
    asked.once('error', reject)
    asked.once('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
      response.once('end', () => {
        resolve({ status: response.statusCode ?? 0, text, ms: performance.now() - began })
      })
    })
    asked.end(body)
  })
}
