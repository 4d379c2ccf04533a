import { goal } from '../../../examples/scripted-model/fix-the-calculator.ts'
import type { Script } from '../../../examples/scripted-model/script.ts'
import { type Client, createClient } from '../../../src/client/index.ts'
import { Site } from '../../support/site.ts'
import type { SampleRun } from './sample-run.ts'
import { seed } from './seed.ts'

export type ConsoleServer = {
  /** Another one after a restart. */
  readonly url: string
  readonly client: (token?: string) => Client
  /** A path in the folder of its projects. */
  readonly path: (...names: string[]) => string
  /** A folder with a project whose tests fail. */
  readonly newProject: (name: string) => Promise<string>
  /** Starts a run in a new project; resolves to its id. */
  readonly start: (project: string, body?: object) => Promise<string>
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
  const site = await Site.open()
  await seed(site.path('data'), samples)
  const model = await site.model(script)
  const settings = { PATH: process.env.PATH ?? '', RETRAI_LOG_LEVEL: 'info', ...env }
  const serve = async () => {
    const started = await site.serve('data', { model, env: settings })
    // Until then, the list shows earlier runs only as far as they have been read.
    await started.untilReady()
    return started
  }
  let server = await serve()
  return {
    get url() {
      return server.url
    },
    client: (token) => createClient({ baseUrl: server.url, token }),
    path: (...names) => site.path(...names),
    newProject: (name) => site.brokenProject(name),
    start: async (project, body = {}) => {
      const cwd = await site.brokenProject(project)
      const usual = { goal, model_name: 'scripted-model', max_turns_per_iteration: 1 }
      const created = await server.post('/api/runs', { ...usual, cwd, ...body })
      if (created.status !== 201) throw new Error(`no run was started: ${created.text}`)
      return String(created.body.run_id)
    },
    restart: async (change) => {
      await server.stop()
      change(site.path('data'))
      server = await serve()
    },
    stop: async () => {
      await server.stop()
      await site.close()
    },
  }
}
