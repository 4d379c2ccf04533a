import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { brokenProject, goal } from '../../../examples/scripted-model/fix-the-calculator.ts'
import type { Script } from '../../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../../examples/scripted-model/server.ts'
import { cleanEnv, startServer } from '../../cli/support.ts'
import type { SampleRun } from './sample-run.ts'
import { seed } from './seed.ts'

export type ConsoleServer = {
  /** Another one after a restart. */
  readonly url: string
  /** A folder with a project whose tests fail. */
  readonly newProject: (name: string) => Promise<string>
  /** Has the data folder changed while the server is down. */
  readonly restart: (change: (dataDir: string) => void) => Promise<void>
  readonly stop: () => Promise<void>
}

/** A server process with a scripted model, and these runs in its log. */
export async function startConsoleServer(
  script: Script,
  samples: readonly SampleRun[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<ConsoleServer> {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-console-'))
  const dataDir = join(folder, 'data')
  await seed(dataDir, samples)
  const model = await startScriptedModel({ script, record: false })
  const args = ['--port', '0', '--data-dir', dataDir]
  const start = async () => {
    const started = await startServer(args, {
      ...cleanEnv(),
      RETRAI_LLM_BASE_URL: model.url,
      RETRAI_LOG_LEVEL: 'info',
      ...env,
    })
    // Until then, the list shows earlier runs only as far as they have been read.
    while (!(await fetch(`${started.url}/health/ready`)).ok) await delay(50)
    return started
  }
  let server = await start()
  return {
    get url() {
      return server.url
    },
    restart: async (change) => {
      await server.stop()
      change(dataDir)
      server = await start()
    },
    newProject: async (name) => {
      const project = join(folder, name)
      for (const [path, content] of Object.entries(brokenProject)) {
        await mkdir(dirname(join(project, path)), { recursive: true })
        await writeFile(join(project, path), content)
      }
      return project
    },
    stop: async () => {
      await server.stop()
      await model.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Starts a run by the API; resolves to its id. */
export async function startRun(url: string, body: Record<string, unknown>): Promise<string> {
  const response = await fetch(`${url}/api/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      goal,
      model_name: 'scripted-model',
      max_turns_per_iteration: 1,
      ...body,
    }),
  })
  const answer: unknown = await response.json()
  if (typeof answer === 'object' && answer !== null && 'run_id' in answer) {
    return String(answer.run_id)
  }
  throw new Error(`no run was started: ${JSON.stringify(answer)}`)
}
